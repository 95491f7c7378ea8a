import type { Program } from '../../../codegen/program.ts'
import { DeviceError, type DeviceFunction } from '../../device.ts'
import type { Kernel, PtxModule } from '../ptx/module.ts'
import { parsePtx } from '../ptx/parser.ts'
import { type Translation, translate } from '../translate/translate.ts'
import { type WasmModule, WebAssembly } from '../wasm/host.ts'
import { type ArenaLayout, layOutArena } from './arena.ts'
import type { StoredTranslation, TranslationStore } from './translation-store.ts'

/** A translated kernel, shared by all programs with the same text, shape and shared memory. */
export interface LoadedKernel {
  readonly kernel: Kernel
  readonly translation: Translation
  readonly module: WasmModule
  readonly layout: ArenaLayout
  readonly sharedBytes: number
  /** CTAs of a cluster, neighbours along x. */
  readonly cluster: number
}

export interface EmulatorFunction extends DeviceFunction {
  readonly loaded: LoadedKernel
}

/** The text parsed last: programs of one text are usually loaded one after the other. */
let latest: { readonly text: string; readonly module: PtxModule } | undefined

/** A model has about thirty kernels; a device holds its own for as long as it is open. */
const keptKernels = 64
/** The kernels that devices of this process used last, the latest at the end: a translation depends on no device. */
const kept = new Map<string, LoadedKernel>()

/** The kernel of a program, translated unless a device of this process had the same lately. */
export function loadKernel(program: Program, checks: boolean): LoadedKernel {
  const key = keyOf(program, checks)
  return keep(key, kept.get(key) ?? makeKernel(program, checks))
}

/** Sees to it that `loadKernel` finds a kernel without checks, from the disk or, for the next process, put there. */
export async function fetchKernel(program: Program, store: TranslationStore | null): Promise<void> {
  const key = keyOf(program, false)
  if (!store || kept.has(key)) return
  const stored = await store.read(program)
  const loaded = keep(key, makeKernel(program, false, stored))
  if (!stored) await store.write(program, loaded.translation)
}

function keyOf({ name, block, sharedBytes, params, ptx }: Program, checks: boolean): string {
  return [name, checks, block.join(), sharedBytes, params.length, ptx].join('|')
}

function keep(key: string, loaded: LoadedKernel): LoadedKernel {
  kept.delete(key)
  kept.set(key, loaded)
  const [oldest] = kept.keys()
  if (kept.size > keptKernels) kept.delete(oldest!)
  return loaded
}

function makeKernel(program: Program, checks: boolean, stored?: StoredTranslation): LoadedKernel {
  if (latest?.text !== program.ptx) latest = { text: program.ptx, module: parsePtx(program.ptx) }
  const kernel = latest.module.kernels.find((candidate) => candidate.name === program.name)
  if (!kernel)
    throw new DeviceError('EMULATOR_INVALID_PTX', `the PTX text has no kernel ${program.name}`, {
      kernel: program.name,
    })
  checkShape(program, kernel)
  const dynamic = kernel.sharedVariables.find((variable) => variable.bytes === 0)
  const sharedBytes = Math.max(kernel.staticSharedBytes, (dynamic?.offset ?? 0) + program.sharedBytes)
  const translation = stored
    ? { ...stored, kernel, sites: [], counted: [] }
    : translate(kernel, { block: program.block, sharedBytes, checks })
  const [cluster] = kernel.cluster
  const threads = program.block[0] * program.block[1] * program.block[2]
  return {
    kernel,
    translation,
    module: new WebAssembly.Module(translation.module),
    layout: layOutArena(Math.ceil(threads / 32), translation.stateBytes, sharedBytes, cluster),
    sharedBytes,
    cluster,
  }
}

function checkShape(program: Program, kernel: Kernel): void {
  const refuse = (problem: string): never => {
    throw new DeviceError('INVALID_LAUNCH', `kernel ${program.name}: ${problem}`, { kernel: program.name })
  }
  const threads = program.block[0] * program.block[1] * program.block[2]
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024)
    refuse(`a CTA of ${program.block.join(' x ')} threads cannot be launched; at most 1024 are possible`)
  const required = kernel.requiredThreads
  if (required && program.block.some((extent, axis) => extent !== required[axis]) && kernel.exactThreads)
    refuse(`the PTX text asks for CTAs of ${required.join(' x ')} threads, not ${program.block.join(' x ')}`)
  if (kernel.cluster[1] !== 1 || kernel.cluster[2] !== 1 || kernel.cluster[0] > 16)
    refuse(`clusters of ${kernel.cluster.join(' x ')} CTAs are not supported; up to 16 x 1 x 1 are`)
  if (program.params.length !== kernel.params.length)
    refuse(`the program has ${program.params.length} parameters, the PTX text ${kernel.params.length}`)
}
