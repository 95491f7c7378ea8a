import type { Instruction, Kernel, Register } from '../ptx/module.ts'
import type { FunctionBuilder, FunctionRef, Label, Local } from '../wasm/function.ts'
import type { Global, ModuleBuilder } from '../wasm/module.ts'
import type { I32 } from '../wasm/operations.ts'
import type { BitSet } from './bits.ts'
import { CollectiveWriter, writeCollective } from './collective.ts'
import type { CheckCalls } from './emit/checked.ts'
import type { CopyCalls } from './emit/copies.ts'
import { Emitter, type KernelContext } from './emit/emitter.ts'
import { type Graph, isBarrier, isWait, successors } from './graph.ts'
import { faults, finished, header, waits } from './layout.ts'
import type { Liveness } from './liveness.ts'
import type { Placement } from './placement.ts'
import { RegionWriter } from './region-writer.ts'
import type { Region } from './regions.ts'
import type { TranslationOptions } from './translate.ts'
import { registerValueType } from './types.ts'
import { writeWait } from './wait.ts'

export interface Analysis {
  readonly kernel: Kernel
  readonly options: TranslationOptions
  readonly graph: Graph
  readonly liveness: Liveness
  readonly uniform: BitSet
  /** Nodes that only some of the lanes may run. */
  readonly divergentNodes: BitSet
  /** Registers that one node alone reads and writes. */
  readonly temporaries: BitSet
  readonly regions: ReadonlyMap<number, Region>
  readonly placement: Placement
  readonly checks: CheckCalls | undefined
}

/**
 * A function `(state, resume, handedOver)` that runs a warp and returns the place to resume at, or `finished`. With
 * `handedOver` the state holds the active lanes and all uniform registers, not only those that outlive a barrier.
 */
export type WarpRef = FunctionRef<readonly ['i32', 'i32', 'i32'], readonly ['i32']>

/** What the functions of a module share. */
export interface ModuleParts {
  readonly m: ModuleBuilder
  readonly fault: FunctionRef<readonly ['i32', 'i32'], readonly []>
  readonly copies: CopyCalls
  readonly scratch: Global<'i32'>
}

export interface WarpVariant {
  readonly name: string
  /** Runs lanes four at a time, and requires all 32 to be active. */
  readonly vectorizes: boolean
  /** Takes over when not all 32 lanes are active; absent where that cannot be. */
  readonly general?: WarpRef
}

/**
 * Writes the function that runs one warp from the start, or from where it waited, to the next barrier or to its end.
 *
 * The function is a loop around a `br_table` over *places*: regions and collectives that are reached from several
 * sides, and the places behind barriers. Lanes that part ways wait at their places; the lanes at the earliest place in
 * the graph's order run first, so that all have met again before the code behind them runs.
 */
export class WarpWriter {
  readonly m: ModuleBuilder
  readonly analysis: Analysis
  readonly vectorizes: boolean
  readonly w: FunctionBuilder<readonly ['i32', 'i32', 'i32'], readonly ['i32']>
  readonly context: KernelContext
  /** Lanes that run here. */
  readonly active: Local<'i32'>
  /** Lanes that have not ended. */
  readonly live: Local<'i32'>
  readonly scratch: Global<'i32'>
  private readonly general: WarpRef | undefined
  private readonly place: Local<'i32'>
  /** Made before any scratch local: one of those, handed out again, would be overwritten on the way back in a loop. */
  private readonly uniforms: ReadonlyMap<number, Local>
  /** Nodes with a place of their own, in the graph's order; barriers have a second one behind them. */
  private readonly places: readonly number[]
  private readonly barriers: readonly number[]
  private readonly waits: readonly number[]
  private readonly incoming: ReadonlyMap<number, number>
  private dispatch!: Label

  constructor({ m, fault, copies, scratch }: ModuleParts, analysis: Analysis, variant: WarpVariant) {
    this.m = m
    this.analysis = analysis
    this.vectorizes = variant.vectorizes
    this.general = variant.general
    this.scratch = scratch
    const { kernel, options, graph } = analysis
    this.w = m.function(variant.name, ['i32', 'i32', 'i32'], ['i32'], { export: variant.name })
    const { w } = this
    this.active = w.local('i32')
    this.live = w.local('i32')
    this.place = w.local('i32')
    this.uniforms = new Map(
      [...analysis.uniform].map((id) => [id, w.local(registerValueType[kernel.registers[id]!.type])]),
    )
    this.context = {
      m,
      kernel,
      block: options.block,
      state: w.args[0],
      firstThread: w.local('i32'),
      shared: w.local('i32'),
      params: w.local('i32'),
      sharedBytes: options.sharedBytes,
      fault,
      copies,
      checks: analysis.checks,
    }
    this.incoming = this.countIncoming()
    this.places = graph.order.filter((id) => id === graph.entry || this.incoming.get(id)! > 1)
    const having = (is: (instruction: Instruction) => boolean): number[] =>
      graph.nodes.filter(({ collective }) => collective && is(collective)).map(({ id }) => id)
    this.barriers = having(isBarrier)
    this.waits = having(isWait)
  }

  /** Jumps to a node from other regions and collectives; choices between several exits count twice. */
  private countIncoming(): Map<number, number> {
    const { graph, regions } = this.analysis
    const incoming = new Map<number, number>()
    const add = (to: number, count: number): void => void incoming.set(to, (incoming.get(to) ?? 0) + count)
    for (const node of graph.nodes) {
      if (!node.collective) continue
      for (const to of successors(node.exit)) add(to, 1)
      // A warp that waited comes back to the wait.
      if (isWait(node.collective)) add(node.id, 2)
    }
    for (const region of regions.values()) {
      const agreed = this.agreesOnExit(region)
      for (const to of region.exits) add(to, agreed ? 1 : 2)
    }
    return incoming
  }

  /** Whether all lanes that run leave the region the same way. */
  agreesOnExit(region: Region): boolean {
    return agreesOnExit(this.analysis, region)
  }

  uniformLocal(register: Register): Local {
    return this.uniforms.get(register.id)!
  }

  /** An emitter for code that runs once for the warp. */
  uniformEmitter(): Emitter {
    return new Emitter(this.context, this.asAny, undefined, (register) => this.uniformLocal(register))
  }

  /** The builder without its signature, as helpers want it. */
  get asAny(): FunctionBuilder {
    return this.w as unknown as FunctionBuilder
  }

  /** Pushes the address of a register's array of lanes. */
  slot(register: Register): I32 {
    const { w } = this
    return w.i32.add(w.get(w.args[0]), w.i32.const(this.analysis.placement.lanes.get(register.id)!))
  }

  write(): void {
    const { w, context } = this
    const [state, resume, handedOver] = w.args
    const { graph } = this.analysis
    w.set(this.live, w.i32.load(w.get(state), header.live))
    w.set(this.active, w.i32.load(w.get(state), header.active))
    w.set(this.place, w.get(resume))
    if (this.general)
      w.if(w.i32.ne(w.get(this.active), w.i32.const(-1)), () =>
        w.return(w.call(this.general!, w.get(state), w.get(resume), w.i32.const(0))),
      )
    w.set(context.firstThread, w.i32.shl(w.i32.load(w.get(state), header.warp), w.i32.const(5)))
    w.set(context.shared, w.i32.load(w.get(state), header.shared))
    w.set(context.params, w.i32.load(w.get(state), header.params))
    if (!this.vectorizes) this.writeTakeOver(handedOver)
    for (const id of this.waits)
      w.if(w.i32.eq(w.get(this.place), w.i32.const(this.waitResume(id))), () => {
        for (const { local, offset } of this.waitUniforms(id)) loadLocal(this.asAny, state, local, offset)
        w.set(this.place, w.i32.const(this.placeOf(id)))
      })
    this.dispatch = w.beginLoop()
    if (!this.vectorizes) this.writeRegrouping()
    else if (this.general) this.writeHandOver(this.general)
    const count = this.places.length + this.barriers.length
    const labels = Array.from({ length: count }, () => w.beginBlock()).reverse()
    w.brTable(w.get(this.place), labels, labels[0]!)
    for (const id of this.places) {
      w.end()
      const next = this.writeNode(id)
      if (next !== undefined) this.writeTransfer(next)
    }
    for (const id of this.barriers) {
      w.end()
      this.restoreUniforms(id)
      this.writeTransfer(successors(graph.nodes[id]!.exit)[0]!)
    }
    w.end()
    w.unreachable()
  }

  /** Where lanes are apart, finds those to run next. */
  private writeRegrouping(): void {
    const { w } = this
    const [state] = w.args
    w.if(w.i32.ne(w.get(this.active), w.get(this.live)), () => {
      w.set(
        this.place,
        w.call(regroup(this.m), w.get(state), w.get(this.active), w.get(this.live), w.get(this.place)),
      )
      w.set(this.active, w.i32.load(w.get(state), header.active))
    })
  }

  /** Where not all lanes are active any more, leaves the rest to the general function. */
  private writeHandOver(general: WarpRef): void {
    const { w } = this
    const [state] = w.args
    w.if(w.i32.ne(w.get(this.active), w.i32.const(-1)), () => {
      w.i32.store(w.get(state), w.get(this.active), header.active)
      w.i32.store(w.get(state), w.get(this.live), header.live)
      for (const { local, offset } of this.placedUniforms()) storeLocal(this.asAny, state, local, offset)
      w.return(w.call(general, w.get(state), w.get(this.place), w.i32.const(1)))
    })
  }

  private writeTakeOver(handedOver: Local<'i32'>): void {
    const { w } = this
    const [state] = w.args
    w.if(w.get(handedOver), () => {
      w.set(this.active, w.i32.load(w.get(state), header.active))
      for (const { local, offset } of this.placedUniforms()) loadLocal(this.asAny, state, local, offset)
    })
  }

  private *placedUniforms(): Generator<{ local: Local; offset: number }> {
    const { kernel, placement } = this.analysis
    for (const [id, offset] of placement.uniforms)
      yield { local: this.uniformLocal(kernel.registers[id]!), offset }
  }

  private placeOf(id: number): number {
    return this.places.indexOf(id)
  }

  /** Goes on at a node: in place while there is no other way to it, through the dispatch loop otherwise. */
  writeTransfer(first: number): void {
    const { w } = this
    const isInPlace = (id: number): boolean => id !== this.analysis.graph.entry && this.incoming.get(id)! < 2
    let id: number | undefined = first
    while (id !== undefined && isInPlace(id)) id = this.writeNode(id)
    if (id === undefined) return
    w.set(this.place, w.i32.const(this.placeOf(id)))
    w.br(this.dispatch)
  }

  /** Writes a node, or the region that it heads; gives the node to go on at where that is all there is left to do. */
  private writeNode(id: number): number | undefined {
    const { graph, regions } = this.analysis
    const node = graph.nodes[id]!
    const region = regions.get(id)
    if (region) return new RegionWriter(this, region).write()
    const collective = node.collective!
    if (!isWait(collective)) this.writeCount(id, false)
    if (isBarrier(collective)) {
      this.writeBarrier(id, collective)
      return undefined
    }
    if (isWait(collective)) {
      writeWait(this, id, collective)
      return successors(node.exit)[0]
    }
    writeCollective(this, collective)
    return successors(node.exit)[0]
  }

  /** Pushes the number that a lane leaves in `lanePlaces` when it goes to a node. */
  pushPlace(id: number): I32 {
    return this.w.i32.const(this.placeOf(id))
  }

  /** All active lanes have ended. */
  writeEnd(): void {
    const { w } = this
    w.set(this.live, w.i32.and(w.get(this.live), w.i32.xor(w.get(this.active), w.i32.const(-1))))
    w.set(this.active, w.i32.const(0))
    this.writeRegroup()
  }

  /** Goes on with those lanes that wait elsewhere; ends the warp when there are none. */
  writeRegroup(): void {
    const { w } = this
    w.if(w.i32.eqz(w.get(this.live)), () => w.return(w.i32.const(finished)))
    w.set(this.place, w.i32.const(-1))
    w.br(this.dispatch)
  }

  /** Goes on at the place that all lanes agreed on, or apart. */
  writeDispatch(place: I32): void {
    const { w } = this
    w.set(this.place, place)
    w.br(this.dispatch)
  }

  /** Leaves `active` different from `live` so that the dispatch loop looks for the lanes to run. */
  writeDiverged(): void {
    const { w } = this
    w.set(this.active, w.i32.const(0))
    w.set(this.place, w.i32.const(-1))
    w.br(this.dispatch)
  }

  writeFault(kind: number, instruction: Instruction): void {
    const { w } = this
    w.call(this.context.fault, w.i32.const(kind), w.i32.const(instruction.index))
    w.unreachable()
  }

  private writeBarrier(id: number, instruction: Instruction): void {
    const { w } = this
    const [state] = w.args
    if (!this.vectorizes)
      w.if(w.i32.ne(w.get(this.active), w.get(this.live)), () =>
        this.writeFault(faults.divergentBarrier, instruction),
      )
    this.saveUniforms(id)
    // Lanes that compute the number in a branch of their own hold it alike, but not as one.
    const operands = new CollectiveWriter(this, instruction)
    const [number, threads] = instruction.operands
    const { cluster, arrive } = instruction.modifiers
    const kind = cluster
      ? arrive
        ? waits.clusterArrival
        : waits.cluster
      : arrive
        ? waits.barrierArrival
        : waits.barrier
    if (number) w.i32.store(w.get(state), operands.firstLane(number), header.barrier)
    w.i32.store(w.get(state), threads ? operands.firstLane(threads) : w.i32.const(0), header.barrierThreads)
    this.writeSuspension(kind, instruction, this.places.length + this.barriers.indexOf(id))
  }

  /** Leaves the warp function; the fields of the wait's kind are in the state already. */
  private writeSuspension(kind: number, instruction: Instruction, resume: number): void {
    const { w } = this
    const [state] = w.args
    w.i32.store(w.get(state), w.i32.const(kind), header.wait)
    w.i32.store(w.get(state), w.i32.const(instruction.index), header.waitInstruction)
    w.i32.store(w.get(state), w.get(this.live), header.live)
    w.i32.store(w.get(state), w.get(this.active), header.active)
    w.return(w.i32.const(resume))
  }

  /** Suspends the active lanes until the phase of an mbarrier may be complete, to come back to the node then. */
  writePhaseWait(id: number, instruction: Instruction, address: Local<'i32'>, parity: Local<'i32'>): void {
    const { w } = this
    const [state] = w.args
    for (const { local, offset } of this.waitUniforms(id)) storeLocal(this.asAny, state, local, offset)
    w.i32.store(w.get(state), w.get(address), header.barrier)
    w.i32.store(w.get(state), w.get(parity), header.barrierThreads)
    this.writeSuspension(waits.phase, instruction, this.waitResume(id))
  }

  private waitResume(id: number): number {
    return this.places.length + this.barriers.length + this.waits.indexOf(id)
  }

  /** What outlives a wait at a node: where lanes may be apart, also what those elsewhere need. */
  private *waitUniforms(id: number): Generator<{ local: Local; offset: number }> {
    const { kernel, liveness, uniform, placement, divergentNodes } = this.analysis
    if (divergentNodes.has(id)) yield* this.placedUniforms()
    else
      for (const register of liveness.liveIn[id]!)
        if (uniform.has(register))
          yield {
            local: this.uniformLocal(kernel.registers[register]!),
            offset: placement.uniforms.get(register)!,
          }
  }

  private *savedUniforms(id: number): Generator<{ local: Local; offset: number }> {
    const { kernel, liveness, uniform, placement } = this.analysis
    for (const register of liveness.liveOut[id]!) {
      if (!uniform.has(register)) continue
      yield {
        local: this.uniformLocal(kernel.registers[register]!),
        offset: placement.uniforms.get(register)!,
      }
    }
  }

  private saveUniforms(id: number): void {
    for (const { local, offset } of this.savedUniforms(id))
      storeLocal(this.asAny, this.w.args[0], local, offset)
  }

  private restoreUniforms(id: number): void {
    for (const { local, offset } of this.savedUniforms(id))
      loadLocal(this.asAny, this.w.args[0], local, offset)
  }

  /** Adds the active lanes, or the one lane of a lane loop, to the executions of a node. */
  writeCount(node: number, oneLane: boolean): void {
    const { checks } = this.analysis
    if (!checks) return
    const { w } = this
    const offset = 8 * node
    const lanes = oneLane ? w.i64.const(1) : w.i64.extend_i32_u(w.i32.popcnt(w.get(this.active)))
    const more = w.let(lanes)
    const address = w.getGlobal(checks.counters)
    w.i64.store(address, w.i64.add(w.i64.load(w.getGlobal(checks.counters), offset), w.get(more)), offset)
    w.release(more)
  }
}

type ExitAnalysis = Pick<Analysis, 'graph' | 'uniform'>

/** Whether all lanes that run leave the region the same way. */
export function agreesOnExit(analysis: ExitAnalysis, region: Region): boolean {
  if (region.exits.length + Number(region.mayEnd) < 2) return true
  return decidingNode(analysis, region) !== undefined
}

/** The node whose uniform branch is the only way out of a region with two exits. */
export function decidingNode({ graph, uniform }: ExitAnalysis, region: Region): number | undefined {
  const outs = region.nodes.filter((id) => {
    const { exit } = graph.nodes[id]!
    return exit.kind === 'end' || successors(exit).some((to) => region.exits.includes(to))
  })
  const [only] = outs
  if (outs.length !== 1 || only === undefined) return undefined
  const { exit } = graph.nodes[only]!
  if (exit.kind !== 'branch' || !uniform.has(exit.condition.register.id)) return undefined
  return successors(exit).every((to) => region.exits.includes(to)) ? only : undefined
}

/** `local = memory[base + offset]`. */
export function loadLocal(w: FunctionBuilder, base: Local<'i32'>, local: Local, offset: number): void {
  const address = w.get(base)
  switch (local.type) {
    case 'i32':
      w.set(local as Local<'i32'>, w.i32.load(address, offset))
      return
    case 'i64':
      w.set(local as Local<'i64'>, w.i64.load(address, offset))
      return
    case 'f32':
      w.set(local as Local<'f32'>, w.f32.load(address, offset))
      return
    case 'f64':
      w.set(local as Local<'f64'>, w.f64.load(address, offset))
      return
    default:
      w.set(local as Local<'v128'>, w.v128.load(address, offset))
      return
  }
}

/** `memory[base + offset] = local`. */
export function storeLocal(w: FunctionBuilder, base: Local<'i32'>, local: Local, offset: number): void {
  const address = w.get(base)
  switch (local.type) {
    case 'i32':
      w.i32.store(address, w.get(local as Local<'i32'>), offset)
      return
    case 'i64':
      w.i64.store(address, w.get(local as Local<'i64'>), offset)
      return
    case 'f32':
      w.f32.store(address, w.get(local as Local<'f32'>), offset)
      return
    case 'f64':
      w.f64.store(address, w.get(local as Local<'f64'>), offset)
      return
    default:
      w.v128.store(address, w.get(local as Local<'v128'>), offset)
      return
  }
}

/**
 * Takes the state, the active and the live lanes and the place of the active ones (-1: already noted in
 * `header.place`). Notes the active lanes that wait at the earliest place in the state and gives that place.
 */
function regroup(m: ModuleBuilder): FunctionRef<readonly ['i32', 'i32', 'i32', 'i32'], readonly ['i32']> {
  return m.routine('regroup', ['i32', 'i32', 'i32', 'i32'], ['i32'], (w) => {
    const [state, active, live, place] = w.args
    const lane = w.local('i32')
    const first = w.let(w.i32.const(0x7fffffff))
    const mask = w.local('i32')
    const forEachLane = (lanes: Local<'i32'>, body: () => void): void => {
      w.set(mask, w.get(lanes))
      w.block((done) =>
        w.loop((again) => {
          w.brIf(done, w.i32.eqz(w.get(mask)))
          w.set(lane, w.i32.ctz(w.get(mask)))
          body()
          w.set(mask, w.i32.and(w.get(mask), w.i32.sub(w.get(mask), w.i32.const(1))))
          w.br(again)
        }),
      )
    }
    const slot = (): I32 => w.i32.add(w.get(state), w.i32.shl(w.get(lane), w.i32.const(1)))
    w.if(w.i32.ge_s(w.get(place), w.i32.const(0)), () =>
      forEachLane(active, () => w.i32.store16(slot(), w.get(place), header.lanePlaces)),
    )
    w.set(active, w.i32.const(0))
    forEachLane(live, () => {
      const at = w.let(w.i32.load16_u(slot(), header.lanePlaces))
      w.if(w.i32.lt_s(w.get(at), w.get(first)), () => {
        w.set(first, w.get(at))
        w.set(active, w.i32.const(0))
      })
      const bit = w.i32.shl(w.i32.eq(w.get(at), w.get(first)), w.get(lane))
      w.set(active, w.i32.or(bit, w.get(active)))
      w.release(at)
    })
    w.i32.store(w.get(state), w.get(active), header.active)
    w.get(first)
  })
}
