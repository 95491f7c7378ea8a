import type { Instruction, Kernel } from '../ptx/module.ts'
import { ModuleBuilder } from '../wasm/module.ts'
import { importChecks } from './emit/checked.ts'
import { buildGraph } from './graph.ts'
import { environment } from './layout.ts'
import { analyzeLiveness } from './liveness.ts'
import { narrowAddresses } from './narrow.ts'
import { placeRegisters } from './placement.ts'
import { findRegions } from './regions.ts'
import { substituteCopies } from './substitute.ts'
import { analyzeUniformity } from './uniform.ts'
import { WarpWriter } from './warp.ts'

export interface TranslationOptions {
  readonly block: readonly [number, number, number]
  /** Extent of the CTA's shared window, static and dynamic. */
  readonly sharedBytes: number
  /** Instruments every memory access. */
  readonly checks: boolean
}

/** A kernel as a WebAssembly module that exports `warp(state, resume)` and the global `scratch`. */
export interface Translation {
  readonly kernel: Kernel
  readonly module: Uint8Array<ArrayBuffer>
  /** Bytes of one warp's state (`layout.ts`). */
  readonly stateBytes: number
  /** The memory instructions that checks number. */
  readonly sites: readonly Instruction[]
  /** What each of the counted nodes executes; empty without checks. */
  readonly counted: readonly (readonly Instruction[])[]
}

/** Translates a kernel for one shape of CTA. Throws a `DeviceError` that names the line of what it cannot execute. */
export function translate(source: Kernel, options: TranslationOptions): Translation {
  const graph = buildGraph(source)
  substituteCopies(graph)
  const kernel = options.checks ? source : narrowAddresses(source, graph)
  const count = kernel.registers.length
  const liveness = analyzeLiveness(graph, count)
  const { registers: uniform } = analyzeUniformity(graph, count, options.block)
  const regions = findRegions(graph)
  const placement = placeRegisters(kernel, graph, liveness, uniform, regions)

  const m = new ModuleBuilder()
  m.importMemory(environment, 'memory', { minimum: 1, maximum: 65536, shared: true })
  const checks = options.checks ? importChecks(m) : undefined
  const writer = new WarpWriter(m, { kernel, options, graph, liveness, uniform, regions, placement, checks })
  writer.write()
  return {
    kernel,
    module: m.encode(),
    stateBytes: placement.bytes,
    sites: checks?.sites ?? [],
    counted: checks ? graph.nodes.map((n) => (n.collective ? [n.collective] : n.instructions)) : [],
  }
}
