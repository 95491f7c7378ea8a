import type { Instruction, Register } from '../../ptx/module.ts'
import type { Local } from '../../wasm/function.ts'
import type { I32, V128 } from '../../wasm/operations.ts'
import { writeInstruction } from '../emit/instruction.ts'
import { type Exit, endsAtOnce, successors } from '../graph.ts'
import { header } from '../layout.ts'
import { writes } from '../operands.ts'
import type { ExitTracking, Traffic } from '../region-writer.ts'
import type { Region } from '../regions.ts'
import type { WarpWriter } from '../warp.ts'
import { groupLanes, VectorEmitter, type VectorRegisters } from './vector-emitter.ts'
import { writeVectorInstruction } from './vector-instruction.ts'

export interface VectorLoop {
  readonly warp: WarpWriter
  readonly region: Region
  /** What lanes execute, by node. */
  readonly code: ReadonlyMap<number, readonly Instruction[]>
  readonly traffic: Traffic
  /** `undefined` where all lanes leave the region the same way. */
  readonly exits: ExitTracking | undefined
  /** To be told which instruction is written, for registers that have an earlier value there. */
  readonly onInstruction: (instruction: Instruction | undefined) => void
  readonly uniformLocal: (register: Register) => Local
}

/**
 * Whether a region's lanes can run four at a time: no register has more than 32 bits, and no loop may wait for what
 * another lane of the four does behind it, as one around an atomic instruction may.
 */
export function canVectorize({ warp, region, code, traffic }: VectorLoop): boolean {
  const { uniform } = warp.analysis
  if (traffic.touched.some(({ type }) => type === 'b64' || type === 'f64')) return false
  const mixes = ({ length }: readonly Register[], uniforms: number): boolean =>
    uniforms > 0 && uniforms < length
  for (const instructions of code.values())
    for (const instruction of instructions) {
      const results = writes(instruction)
      if (mixes(results, results.filter(({ id }) => uniform.has(id)).length)) return false
    }
  const ranges = loopRanges(warp, region)
  if (!ranges) return false
  for (const [start, end] of ranges)
    for (const id of region.nodes.slice(start, end + 1))
      if (code.get(id)!.some(({ op }) => op === 'atom')) return false
  return true
}

/** The position of the last node of each loop, by the position of its head; `undefined` where loops do not nest. */
function loopRanges({ analysis: { graph } }: WarpWriter, region: Region): Map<number, number> | undefined {
  const position = new Map(region.nodes.map((id, index) => [id, index]))
  const incoming = new Map<number, number[]>(region.nodes.map((id) => [id, []]))
  for (const id of region.nodes)
    for (const to of successors(graph.nodes[id]!.exit)) incoming.get(to)?.push(id)
  const ranges = new Map<number, number>()
  for (const [start, head] of region.nodes.entries()) {
    const back = incoming.get(head)!.filter((from) => position.get(from)! >= start)
    if (back.length === 0) continue
    const members = new Set(back)
    for (const member of members)
      if (member !== head)
        for (const from of incoming.get(member)!) if (position.get(from)! >= start) members.add(from)
    ranges.set(start, Math.max(...[...members].map((member) => position.get(member)!)))
  }
  for (const [start, end] of ranges)
    for (const [other, otherEnd] of ranges)
      if (other > start && other <= end && otherEnd > end) return undefined
  return ranges
}

/**
 * Writes a loop over the eight groups of four lanes, all of them active. Nodes stand in the graph's order, each under a
 * mask of the lanes that came to it; a loop goes round while any lane came back to its head.
 */
export function writeVectorLoop(loop: VectorLoop): void {
  new VectorLoopWriter(loop).write()
}

class VectorLoopWriter {
  private readonly loop: VectorLoop
  private readonly v: VectorEmitter
  private readonly group: Local<'i32'>
  private readonly locals = new Map<number, Local<'v128'>>()
  /** Lanes that are to run a node. */
  private readonly masks = new Map<number, Local<'v128'>>()
  private readonly ranges: ReadonlyMap<number, number>
  private readonly places: Local<'v128'> | undefined
  private readonly ended: Local<'v128'> | undefined

  constructor(loop: VectorLoop) {
    this.loop = loop
    const { warp, region, exits } = loop
    const { w } = warp
    const { uniform, temporaries } = warp.analysis
    this.group = w.local('i32')
    this.ranges = loopRanges(warp, region)!
    const registers: VectorRegisters = {
      isUniform: (register) => uniform.has(register.id),
      uniformLocal: loop.uniformLocal,
      vectorLocal: (register) => this.vectorLocal(register),
      isTemporary: (register) => temporaries.has(register.id),
    }
    this.v = new VectorEmitter(warp.context, warp.asAny, registers, this.group)
    for (const id of region.nodes)
      for (const to of this.targetsInside(id)) if (!this.masks.has(to)) this.masks.set(to, w.local('v128'))
    this.places = exits ? w.local('v128') : undefined
    this.ended = exits?.ended ? w.local('v128') : undefined
  }

  private targetsInside(id: number): number[] {
    const { region } = this.loop
    return successors(this.exitOf(id)).filter((to) => region.nodes.includes(to))
  }

  private exitOf(id: number): Exit {
    return this.loop.warp.analysis.graph.nodes[id]!.exit
  }

  private vectorLocal(register: Register): Local<'v128'> {
    let local = this.locals.get(register.id)
    if (!local) {
      local = this.loop.warp.w.local('v128')
      this.locals.set(register.id, local)
    }
    return local
  }

  write(): void {
    const { v, group } = this
    const { warp, region, traffic, exits } = this.loop
    const { w, context } = warp
    const { placement } = warp.analysis
    const file = w.local('i32')
    const common = exits ? w.let(v.splat(-1)) : undefined
    const any = exits ? w.let(v.splat(0)) : undefined

    w.set(group, w.i32.const(0))
    const next = w.beginLoop()
    w.set(file, w.i32.add(w.get(context.state), w.i32.shl(w.get(group), w.i32.const(2))))
    for (const register of traffic.loaded) {
      const value = w.v128.load(w.get(file), placement.lanes.get(register.id)!)
      w.set(this.vectorLocal(register), register.type === 'pred' ? w.i32x4.ne(value, v.splat(0)) : value)
    }
    for (const { home, before } of traffic.rewritten) w.set(home, w.get(before))
    for (const [id, mask] of this.masks) w.set(mask, v.splat(id === region.head ? -1 : 0))
    if (this.ended) w.set(this.ended, v.splat(0))

    this.writeNodes(0, region.nodes.length - 1)

    for (const register of traffic.stored) {
      const address = w.get(file)
      const value = w.get(this.vectorLocal(register))
      const bits = register.type === 'pred' ? w.v128.and(value, v.splat(1)) : value
      w.v128.store(address, bits, placement.lanes.get(register.id)!)
    }
    const keep = (): void => {
      for (const { home, after } of traffic.rewritten) w.set(after, w.get(home))
    }
    if (this.ended && traffic.rewritten.length > 0) w.if(w.v128.any_true(w.v128.not(w.get(this.ended))), keep)
    else keep()
    if (exits) this.noteExits(exits, common!, any!)

    const following = w.i32.add(w.get(group), w.i32.const(groupLanes))
    w.brIf(next, w.i32.lt_u(w.tee(group, following), w.i32.const(32)))
    w.end()
    for (const { home, after } of traffic.rewritten) w.set(home, w.get(after))
    if (exits) {
      w.set(
        exits.common,
        this.fold(common!, (a, b) => w.i32.and(a, b)),
      )
      w.set(
        exits.any,
        this.fold(any!, (a, b) => w.i32.or(a, b)),
      )
      w.release(common!, any!)
    }
    w.release(group, file, ...this.locals.values(), ...this.masks.values())
    for (const { before, after } of traffic.rewritten) w.release(before, after)
    if (this.places) w.release(this.places)
    if (this.ended) w.release(this.ended)
  }

  private fold(vector: Local<'v128'>, combine: (a: I32, b: I32) => I32): I32 {
    const { w } = this.loop.warp
    let result = w.i32x4.extract_lane(w.get(vector), 0)
    for (let lane = 1; lane < groupLanes; lane++)
      result = combine(result, w.i32x4.extract_lane(w.get(vector), lane))
    return result
  }

  /** Follows where the four lanes go; ended ones agree with everything. */
  private noteExits(exits: ExitTracking, common: Local<'v128'>, any: Local<'v128'>): void {
    const { group, ended } = this
    const { w, context } = this.loop.warp
    const places = this.places!
    const orEnded = ended ? w.v128.or(w.get(places), w.get(ended)) : w.get(places)
    w.set(common, w.v128.and(orEnded, w.get(common)))
    const unlessEnded = ended ? w.v128.andnot(w.get(places), w.get(ended)) : w.get(places)
    w.set(any, w.v128.or(unlessEnded, w.get(any)))
    const slots = w.let(w.i32.add(w.get(context.state), w.i32.shl(w.get(group), w.i32.const(1))))
    for (let lane = 0; lane < groupLanes; lane++)
      w.v128.store16_lane(w.get(slots), w.get(places), 2 * lane, header.lanePlaces + 2 * lane)
    w.release(slots)
    if (!ended) return
    const bits = w.i32.shl(w.i32x4.bitmask(w.get(ended)), w.get(group))
    w.set(exits.ended!, w.i32.or(bits, w.get(exits.ended!)))
  }

  private writeNodes(first: number, last: number): void {
    const { w } = this.loop.warp
    for (let index = first; index <= last; index++) {
      const end = this.ranges.get(index)
      const id = this.loop.region.nodes[index]!
      if (end === undefined) {
        this.writeNode(id, this.isInLoop(index))
        continue
      }
      const again = w.beginLoop()
      this.writeNode(id, true)
      this.writeNodes(index + 1, end)
      w.brIf(again, w.v128.any_true(w.get(this.masks.get(id)!)))
      w.end()
      index = end
    }
  }

  private isInLoop(index: number): boolean {
    for (const [start, end] of this.ranges) if (start <= index && index <= end) return true
    return false
  }

  /** Whether all four lanes run the node whenever one does. */
  private isFull(id: number): boolean {
    const { warp, region } = this.loop
    const { divergentNodes, graph } = warp.analysis
    if (divergentNodes.has(id)) return false
    if (id === region.head && !this.masks.has(id)) return true
    return !region.nodes.some((other) => successors(this.exitOf(other)).some((to) => endsAtOnce(graph, to)))
  }

  private writeNode(id: number, inLoop: boolean): void {
    const { v } = this
    const { w } = this.loop.warp
    const mask = this.masks.get(id)
    if (!mask) {
      v.mask = undefined
      this.writeBody(id, undefined)
      return
    }
    w.if(w.v128.any_true(w.get(mask)), () => {
      let own = mask
      if (inLoop) {
        own = w.let(w.get(mask))
        w.set(mask, v.splat(0))
      }
      v.mask = this.isFull(id) ? undefined : own
      this.writeBody(id, own)
      v.mask = undefined
      if (inLoop) w.release(own)
    })
  }

  private writeBody(id: number, own: Local<'v128'> | undefined): void {
    const { v } = this
    const { warp, code, onInstruction } = this.loop
    const { w } = warp
    const { uniform } = warp.analysis
    for (const instruction of code.get(id)!) {
      onInstruction(instruction)
      const results = writes(instruction)
      v.instruction = instruction
      if (results.length > 0 && results.every((register) => uniform.has(register.id)))
        writeInstruction(v.scalar(), instruction)
      else writeVectorInstruction(v, instruction)
    }
    onInstruction(undefined)
    const exit = this.exitOf(id)
    const all = (): V128 => (own ? w.get(own) : v.splat(-1))
    if (exit.kind === 'end') this.send('end', all)
    else if (exit.kind === 'jump') this.send(exit.to, all)
    else {
      const truth = w.let(v.truth(exit.condition))
      this.send(exit.taken, () => (own ? w.v128.and(w.get(truth), w.get(own)) : w.get(truth)))
      this.send(exit.otherwise, () =>
        own ? w.v128.andnot(w.get(own), w.get(truth)) : w.v128.not(w.get(truth)),
      )
      w.release(truth)
    }
  }

  /** Notes that the lanes of a mask go on at a node, leave the region, or end. */
  private send(to: number | 'end', lanes: () => V128): void {
    const { warp } = this.loop
    const { w } = warp
    const mask = to === 'end' ? this.ended : this.masks.get(to)
    if (mask) w.set(mask, w.v128.or(lanes(), w.get(mask)))
    else if (to !== 'end' && this.places) {
      const place = w.i32x4.splat(warp.pushPlace(to))
      w.set(this.places, w.v128.bitselect(place, w.get(this.places), lanes()))
    }
  }
}
