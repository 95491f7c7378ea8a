import { DeviceError } from '../../device.ts'
import { Checker } from '../checks/checker.ts'
import { findingCodes } from '../checks/finding-codes.ts'
import type { Finding, LaunchReport, Site, WgmmaProduct } from '../checks/interface.ts'
import type { Instruction } from '../ptx/module.ts'
import { windowStride } from '../translate/layout.ts'
import { productOf } from '../translate/warpgroup.ts'
import { Arena } from './arena.ts'
import { CopyEngine } from './copy-engine.ts'
import { CtaRunner } from './cta.ts'
import { describeFailure } from './fault.ts'
import type { Heap } from './heap.ts'
import { instantiate } from './instance.ts'
import type { LoadedKernel } from './kernel.ts'
import type { LaunchRecord } from './launch.ts'

function siteOf({ opcode, line, location }: Instruction): Site {
  return { opcode, line, location: location && `${location.file}:${location.line}` }
}

function productsOf(sites: readonly Instruction[]): ReadonlyMap<number, WgmmaProduct> {
  const found = new Map<number, WgmmaProduct>()
  for (const [site, instruction] of sites.entries()) {
    const product = productOf(instruction)
    if (product) found.set(site, product)
  }
  return found
}

/** What often comes of a fault that was found before. */
const consequences = new Set(['EMULATOR_DEADLOCK', 'EMULATOR_BARRIER_BYTES', 'EMULATOR_BARRIER_ARRIVALS'])

/** Runs launches with every memory access checked and counted. */
export class CheckedLauncher {
  readonly checker: Checker
  /** One per launch, the latest last, until taken. */
  reports: LaunchReport[] = []
  private readonly heap: Heap
  private readonly arena = new Arena()

  constructor(heap: Heap) {
    this.heap = heap
    this.checker = new Checker(heap.memory)
  }

  /** Throws the launch's first fault as a `DeviceError`. */
  run({ fn, grid, params, overlaps }: LaunchRecord, seed: number | undefined): void {
    const { loaded } = fn
    const { layout, translation, kernel } = loaded
    const { checker, heap } = this
    this.arena.require(heap, layout.bytes)
    const arena = this.arena.address
    heap.bytes(arena + layout.params, params.length).set(params)
    const counters = heap.allocatePrivate(Math.max(8 * translation.counted.length, 8))
    heap.bytes(counters, 8 * translation.counted.length).fill(0)
    checker.beginLaunch({
      kernel: kernel.name,
      sites: translation.sites.map(siteOf),
      grid,
      block: fn.program.block,
      cluster: loaded.cluster,
      overlaps,
      sharedBytes: loaded.sharedBytes,
      products: productsOf(translation.sites),
    })
    let failure: DeviceError | undefined
    try {
      const scratch = arena + layout.scratch
      const engine = new CopyEngine(heap.memory, windowStride(loaded.sharedBytes))
      const copies = checker.beginCopies(engine, seed)
      const warp = instantiate(loaded.module, heap.memory, { scratch, counters }, copies, checker.imports)
      const plan = { grid, block: fn.program.block, layout, seed }
      const runner = new CtaRunner(plan, warp, heap.memory, arena, checker)
      let cta = 0
      runner.runAll((grid[0] * grid[1] * grid[2]) / loaded.cluster, () => cta++)
    } catch (error) {
      failure = describeFailure(kernel, error)
    } finally {
      this.count(loaded, counters)
      heap.free(counters)
    }
    const report = checker.endLaunch()
    this.reports.push(report)
    const finding = findingError(report)
    if (finding && (!failure || consequences.has(failure.code))) failure = finding
    if (failure) throw failure
  }

  private count({ translation }: LoadedKernel, counters: number): void {
    const executions = new BigUint64Array(this.heap.memory.buffer, counters, translation.counted.length)
    translation.counted.forEach((instructions, node) => {
      const times = Number(executions[node])
      if (times > 0) for (const { opcode } of instructions) this.checker.countInstruction(opcode, times)
    })
  }
}

/** Kinds that often come of another fault; those further back do so more often. */
const symptoms: readonly Finding['kind'][] = ['uninitialised', 'barrier-arrivals']

/**
 * The first of the gravest findings as an error; the message tells how many more there are. Memory that is read before
 * it was written often shows a missing barrier, so races come first.
 */
function findingError({ kernel, findings }: LaunchReport): DeviceError | undefined {
  const [first] = [...findings].sort((a, b) => symptoms.indexOf(a.kind) - symptoms.indexOf(b.kind))
  if (!first) return undefined
  const more = findings.length > 1 ? ` (and ${findings.length - 1} more findings in this launch)` : ''
  return new DeviceError(findingCodes[first.kind], `kernel ${kernel}: ${first.message}${more}`, {
    kernel,
    location: first.site.location,
  })
}
