import type { Instruction, Kernel } from '../ptx/module.ts'
import { ModuleBuilder } from '../wasm/module.ts'
import { importChecks } from './emit/checked.ts'
import { importCopies } from './emit/copies.ts'
import { buildGraph } from './graph.ts'
import { environment } from './layout.ts'
import { analyzeLiveness, findTemporaries } from './liveness.ts'
import { narrowAddresses } from './narrow.ts'
import { placeRegisters } from './placement.ts'
import { findRegions } from './regions.ts'
import { substituteCopies } from './substitute.ts'
import { analyzeUniformity } from './uniform.ts'
import { type Analysis, agreesOnExit, type WarpRef, WarpWriter } from './warp.ts'
import { trackedRegisters } from './warpgroup.ts'

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
  const { registers: uniform, divergentNodes } = analyzeUniformity(graph, count, options.block)
  const regions = findRegions(graph)
  const temporaries = findTemporaries(graph, liveness, count)

  const m = new ModuleBuilder()
  m.importMemory(environment, 'memory', { minimum: 1, maximum: 65536, shared: true })
  const parts = {
    m,
    fault: m.importFunction(environment, 'fault', ['i32', 'i32'], []),
    copies: importCopies(m),
    scratch: m.global('i32', 0, { export: 'scratch' }),
  }
  const checks = options.checks ? importChecks(m, trackedRegisters(graph)) : undefined
  const exits = { graph, uniform }
  const fullWarps = (options.block[0] * options.block[1] * options.block[2]) % 32 === 0
  const staysTogether = fullWarps && [...regions.values()].every((region) => agreesOnExit(exits, region))
  const handsOver = !checks && !staysTogether
  const placement = placeRegisters(kernel, graph, liveness, uniform, regions, divergentNodes, handsOver)
  const analysis: Analysis = {
    kernel,
    options,
    graph,
    liveness,
    uniform,
    divergentNodes,
    temporaries,
    regions,
    placement,
    checks,
  }
  if (checks) new WarpWriter(parts, analysis, { name: 'warp', vectorizes: false }).write()
  else {
    // Vectors of lanes need whole warps; a second function serves what is left when lanes end or part.
    let general: WarpRef | undefined
    if (handsOver) {
      const writer = new WarpWriter(parts, analysis, { name: 'general', vectorizes: false })
      writer.write()
      general = writer.w
    }
    new WarpWriter(parts, analysis, { name: 'warp', vectorizes: true, ...(general && { general }) }).write()
  }
  return {
    kernel,
    module: m.encode(),
    stateBytes: placement.bytes,
    sites: checks?.sites ?? [],
    counted: checks ? graph.nodes.map((n) => (n.collective ? [n.collective] : n.instructions)) : [],
  }
}
