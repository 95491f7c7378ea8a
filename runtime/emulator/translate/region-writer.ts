import type { Instruction, Register } from '../ptx/module.ts'
import type { Label, Local } from '../wasm/function.ts'
import { Emitter } from './emit/emitter.ts'
import { writeInstruction } from './emit/instruction.ts'
import { type Exit, successors } from './graph.ts'
import { header } from './layout.ts'
import { reads, writes } from './operands.ts'
import type { Region } from './regions.ts'
import { writeStructured } from './structure.ts'
import { laneBytes, registerValueType } from './types.ts'
import { canVectorize, type VectorLoop, writeVectorLoop } from './vector/vector-loop.ts'
import { decidingNode, loadLocal, storeLocal, type WarpWriter } from './warp.ts'

/** What a loop over the lanes of a region has to load, store and keep. */
export interface Traffic {
  /** Registers of the lanes that occur. */
  readonly touched: readonly Register[]
  readonly loaded: readonly Register[]
  readonly stored: readonly Register[]
  /** Uniform registers that lanes write: they start from the same value in each, and keep what a lane that goes on found. */
  readonly rewritten: readonly { readonly home: Local; readonly before: Local; readonly after: Local }[]
}

export interface ExitTracking {
  /** Of the current lane. */
  readonly place: Local<'i32'>
  /** The bits that the places of all lanes have, and those that any has: equal when all lanes go to one place. */
  readonly common: Local<'i32'>
  readonly any: Local<'i32'>
  /** Lanes that ended in the region. */
  readonly ended: Local<'i32'> | undefined
}

/**
 * Writes a region: first its uniform instructions, once, then a loop over the active lanes that loads the registers
 * coming in, runs the region's own control flow and stores the registers going out.
 */
export class RegionWriter {
  private readonly warp: WarpWriter
  private readonly region: Region
  /** What lanes execute, by node. */
  private readonly code = new Map<number, Instruction[]>()
  private readonly locals = new Map<number, Local>()
  /** Earlier values of uniform registers that are overwritten before the lanes run. */
  private readonly earlier = new Map<Instruction, Map<number, Local>>()
  private current: Instruction | undefined

  constructor(warp: WarpWriter, region: Region) {
    this.warp = warp
    this.region = region
  }

  /** Gives the node to go on at where all lanes do. */
  write(): number | undefined {
    const { warp, region } = this
    const { graph } = warp.analysis
    for (const id of region.nodes) this.code.set(id, [...graph.nodes[id]!.instructions])
    this.hoistUniform()
    if (this.lanesHaveWork()) return this.writeLanes()
    warp.writeCount(region.head, false)
    return this.writeAgreedExit()
  }

  /** Runs the uniform instructions of the head before the lanes do the rest, unless the region loops back to it. */
  private hoistUniform(): void {
    const { warp, region } = this
    const { graph, uniform } = warp.analysis
    if (region.nodes.some((id) => successors(graph.nodes[id]!.exit).includes(region.head))) return
    const { w } = warp
    const e = warp.uniformEmitter()
    const rest: Instruction[] = []
    const uses = new Map<number, Instruction[]>()
    for (const instruction of this.code.get(region.head)!) {
      const results = writes(instruction)
      if (results.length > 0 && results.every((register) => uniform.has(register.id))) {
        for (const register of results) {
          const users = uses.get(register.id) ?? []
          if (users.length === 0) continue
          const before = w.let(w.get(warp.uniformLocal(register)))
          for (const user of users) this.earlierOf(user).set(register.id, before)
          uses.delete(register.id)
        }
        writeInstruction(e, instruction)
      } else {
        rest.push(instruction)
        for (const register of reads(instruction))
          if (uniform.has(register.id)) uses.set(register.id, [...(uses.get(register.id) ?? []), instruction])
      }
    }
    this.code.set(region.head, rest)
  }

  private earlierOf(user: Instruction): Map<number, Local> {
    let map = this.earlier.get(user)
    if (!map) {
      map = new Map()
      this.earlier.set(user, map)
    }
    return map
  }

  private lanesHaveWork(): boolean {
    const { region, warp } = this
    if (region.nodes.length > 1 || this.code.get(region.head)!.length > 0) return true
    return !warp.agreesOnExit(region)
  }

  private isUniform(register: Register): boolean {
    return this.warp.analysis.uniform.has(register.id)
  }

  private localOf = (register: Register): Local => {
    const { warp } = this
    if (this.isUniform(register)) {
      const before = this.current && this.earlier.get(this.current)?.get(register.id)
      return before ?? warp.uniformLocal(register)
    }
    let local = this.locals.get(register.id)
    if (!local) {
      local = warp.w.local(registerValueType[register.type])
      this.locals.set(register.id, local)
    }
    return local
  }

  /** What a loop over the lanes has to load, store and keep. */
  private traffic(): Traffic {
    const { warp, region } = this
    const { w } = warp
    const { graph, liveness } = warp.analysis
    const read = new Map<number, Register>()
    const written = new Map<number, Register>()
    for (const id of region.nodes) {
      for (const instruction of this.code.get(id)!) {
        for (const register of reads(instruction)) read.set(register.id, register)
        for (const register of writes(instruction)) written.set(register.id, register)
      }
      const { exit } = graph.nodes[id]!
      if (exit.kind === 'branch') read.set(exit.condition.register.id, exit.condition.register)
    }
    const ofLanes = (register: Register): boolean => !this.isUniform(register)
    const touched = [...new Map([...read, ...written]).values()].filter(ofLanes)
    const liveIn = liveness.liveIn[region.head]!
    const isLiveOut = (r: Register): boolean => region.exits.some((to) => liveness.liveIn[to]!.has(r.id))
    return {
      touched,
      loaded: touched.filter((r) => liveIn.has(r.id)),
      stored: [...written.values()].filter((r) => ofLanes(r) && isLiveOut(r)),
      rewritten: [...written.values()]
        .filter((r) => this.isUniform(r))
        .map((register) => {
          const home = warp.uniformLocal(register)
          return { home, before: w.let(w.get(home)), after: w.local(home.type) }
        }),
    }
  }

  private writeLanes(): number | undefined {
    const { warp, region } = this
    const traffic = this.traffic()
    const exits = warp.agreesOnExit(region) ? undefined : this.trackExits()
    const loop: VectorLoop = {
      warp,
      region,
      code: this.code,
      traffic,
      exits,
      onInstruction: (instruction) => {
        this.current = instruction
      },
      uniformLocal: this.localOf,
    }
    if (warp.vectorizes && canVectorize(loop)) writeVectorLoop(loop)
    else this.writeLaneLoop(traffic, exits)
    return this.writeExit(exits)
  }

  private writeLaneLoop({ loaded, stored, rewritten }: Traffic, exits: ExitTracking | undefined): void {
    const { warp } = this
    const { w, context } = warp
    const { placement, checks } = warp.analysis

    const lane = w.local('i32')
    const remaining = w.let(w.get(warp.active))
    const file4 = w.local('i32')
    const file8 = w.local('i32')
    const e = new Emitter(context, warp.asAny, lane, this.localOf)
    const usesFile = (bytes: 4 | 8): boolean =>
      [...loaded, ...stored].some((r) => laneBytes(r.type) === bytes)
    const file = (register: Register): Local<'i32'> => (laneBytes(register.type) === 8 ? file8 : file4)

    const next = w.beginLoop()
    w.set(lane, w.i32.ctz(w.get(remaining)))
    if (usesFile(4)) w.set(file4, w.i32.add(w.get(context.state), w.i32.shl(w.get(lane), w.i32.const(2))))
    if (usesFile(8)) w.set(file8, w.i32.add(w.get(context.state), w.i32.shl(w.get(lane), w.i32.const(3))))
    for (const register of loaded)
      loadLocal(warp.asAny, file(register), this.localOf(register), placement.lanes.get(register.id)!)
    for (const { home, before } of rewritten) w.set(home, w.get(before))
    const leaves = w.beginBlock()
    const done = w.beginBlock()
    this.writeFlow(e, done, leaves, exits, lane)
    w.end()
    for (const register of stored)
      storeLocal(warp.asAny, file(register), this.localOf(register), placement.lanes.get(register.id)!)
    for (const { home, after } of rewritten) w.set(after, w.get(home))
    if (exits) {
      w.set(exits.common, w.i32.and(w.get(exits.common), w.get(exits.place)))
      w.set(exits.any, w.i32.or(w.get(exits.any), w.get(exits.place)))
      const slot = w.i32.add(w.get(context.state), w.i32.shl(w.get(lane), w.i32.const(1)))
      w.i32.store16(slot, w.get(exits.place), header.lanePlaces)
    }
    w.end()
    w.set(remaining, w.i32.and(w.get(remaining), w.i32.sub(w.get(remaining), w.i32.const(1))))
    w.brIf(next, w.get(remaining))
    w.end()
    for (const { home, after } of rewritten) w.set(home, w.get(after))
    if (checks) w.call(checks.endRegion)

    const scratch: Local[] = [lane, remaining, file4, file8, ...this.locals.values()]
    for (const { before, after } of rewritten) scratch.push(before, after)
    w.release(...scratch)
  }

  /** Locals that follow where lanes go, for regions that they may leave in different ways. */
  private trackExits(): ExitTracking {
    const { w } = this.warp
    const exits = {
      place: w.local('i32'),
      common: w.let(w.i32.const(-1)),
      any: w.let(w.i32.const(0)),
      ended: this.region.mayEnd ? w.let(w.i32.const(0)) : undefined,
    }
    return exits
  }

  /** Goes on where the lanes do, apart if they do not agree. */
  private writeExit(exits: ExitTracking | undefined): number | undefined {
    const { warp } = this
    const { w } = warp
    if (!exits) return this.writeAgreedExit()
    const { ended, common, any, place } = exits
    if (ended) {
      const stay = (lanes: Local<'i32'>): void =>
        w.set(lanes, w.i32.and(w.get(lanes), w.i32.xor(w.get(ended), w.i32.const(-1))))
      stay(warp.live)
      stay(warp.active)
      w.if(w.i32.eqz(w.get(warp.active)), () => warp.writeRegroup())
    }
    w.if(w.i32.ne(w.get(common), w.get(any)), () => warp.writeDiverged())
    warp.writeDispatch(w.get(common))
    w.release(place, common, any, ...(ended ? [ended] : []))
    return undefined
  }

  /** The region's own control flow for one lane. `done`: the lane goes on; `leaves`: it has ended. */
  private writeFlow(
    e: Emitter,
    done: Label,
    leaves: Label,
    exits: ExitTracking | undefined,
    lane: Local<'i32'>,
  ): void {
    const { warp, region } = this
    const { w } = warp
    const { graph } = warp.analysis
    const inside = new Set(region.nodes)
    const exitOf = (id: number): Exit => graph.nodes[id]!.exit
    const ended = exits?.ended
    writeStructured(warp.asAny, {
      head: region.head,
      nodes: region.nodes,
      exitOf,
      // An edge back to the head from inside stays inside only if the region owns the loop.
      isOutside: (_from, to) => !inside.has(to),
      writeBody: (id) => {
        warp.writeCount(id, true)
        for (const instruction of this.code.get(id)!) {
          this.current = instruction
          writeInstruction(e, instruction)
        }
        this.current = undefined
      },
      writeCondition: (id) => {
        const exit = exitOf(id)
        if (exit.kind !== 'branch') throw new Error('The node does not branch')
        return e.i32(exit.condition)
      },
      writeLeave: (to) => {
        if (to === 'end') {
          if (ended) {
            const bit = w.i32.shl(w.i32.const(1), w.get(lane))
            w.set(ended, w.i32.or(bit, w.get(ended)))
          }
          return w.br(ended ? leaves : done)
        }
        if (exits) w.set(exits.place, warp.pushPlace(to))
        w.br(done)
      },
    })
  }

  /** All lanes that run leave the same way. */
  private writeAgreedExit(): number | undefined {
    const { warp, region } = this
    const { w } = warp
    const { graph } = warp.analysis
    if (region.exits.length + Number(region.mayEnd) < 2) {
      const [exit] = region.exits
      // A region without exit never ends, such as an endless loop.
      if (exit === undefined) region.mayEnd ? warp.writeEnd() : w.unreachable()
      return exit
    }
    const { exit } = graph.nodes[decidingNode(warp.analysis, region)!]!
    if (exit.kind !== 'branch') throw new Error('The deciding node does not branch')
    w.if(
      warp.uniformEmitter().i32(exit.condition),
      () => warp.writeTransfer(exit.taken),
      () => warp.writeTransfer(exit.otherwise),
    )
    return undefined
  }
}
