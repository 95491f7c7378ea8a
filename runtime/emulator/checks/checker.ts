import type { CopyEngine, CopyImports } from '../run/copy-engine.ts'
import type { WasmMemory } from '../wasm/host.ts'
import { Accesses } from './accesses.ts'
import { AsyncGroups } from './async-groups.ts'
import { BulkCopies } from './bulk-copies.ts'
import { classify } from './instruction-class.ts'
import type { CheckImports, Checks, LaunchInfo, LaunchReport } from './interface.ts'
import { Mbarriers } from './mbarriers.ts'
import type { AccessKind } from './shadow.ts'
import { WgmmaChecks } from './wgmma.ts'

const idle: LaunchInfo = {
  kernel: '',
  sites: [],
  grid: [1, 1, 1],
  block: [1, 1, 1],
  cluster: 1,
  overlaps: false,
  sharedBytes: 0,
}

/** See `Checks`: finds what a GPU forgives, and counts what memory accesses cost. */
export class Checker implements Checks {
  readonly imports: CheckImports

  private readonly accesses = new Accesses()
  private readonly groups = new AsyncGroups(this.accesses)
  private readonly barriers: Mbarriers
  private readonly copies: BulkCopies
  private readonly wgmma: WgmmaChecks
  private launch = idle
  private instructions = new Map<string, number>()

  /** `memory` is the device's; kernels without mbarriers do without. */
  constructor(memory?: WasmMemory) {
    const { accesses, groups } = this
    const { order } = accesses
    this.barriers = new Mbarriers(accesses, () => new Int32Array(memory!.buffer))
    this.copies = new BulkCopies(accesses, this.barriers)
    const { barriers, copies } = this
    this.wgmma = new WgmmaChecks({
      findings: accesses.findings,
      product: (site) => this.launch.products!.get(site)!,
      beginRead: (owner, address, thread, site) => accesses.beginRead(owner, address, thread, site),
      endRead: (address, thread, site) =>
        accesses.touch('shared', 'read', accesses.inCluster(address), 16, thread, site),
      release: (owner) => accesses.readers.release(owner),
    })
    const { wgmma } = this
    const access =
      (space: 'global' | 'shared', kind: AccessKind) =>
      (address: number, bytes: number, thread: number, site: number): void =>
        accesses.access(space, kind, address, bytes, thread, site)
    this.imports = {
      loadGlobal: access('global', 'read'),
      loadShared: access('shared', 'read'),
      storeGlobal: access('global', 'write'),
      storeShared: access('shared', 'write'),
      atomicGlobal: access('global', 'atomic'),
      atomicShared: access('shared', 'atomic'),
      matrixRow: (address, thread, site) => accesses.access('shared', 'read', address, 16, thread, site),
      asyncCopy: (dst, src, bytes, sourceBytes, thread, site) =>
        groups.copy(dst, src, bytes, sourceBytes, thread, site),
      commitGroup: (thread) => groups.commit(thread),
      waitGroup: (thread, pending) => groups.wait(thread, pending),
      initBarrier: (address, count, thread, site) => barriers.init(address, count, thread, site),
      arriveBarrier: (address, count, thread, site) => barriers.arrive(address, count, 0, thread, site),
      arriveExpecting: (address, bytes, thread, site) => barriers.arrive(address, 1, bytes, thread, site),
      waitPhase: (address, parity, thread, site) => Number(barriers.wait(address, parity, thread, site)),
      commitBulk: (thread) => copies.commit(thread),
      waitBulk: (thread, pending, read) => copies.wait(thread, pending, read !== 0),
      fenceGlobal: (thread) => {
        order.enter(thread)
        order.fence()
      },
      fenceProxy: (thread) => {
        accesses.proxy.fence(accesses.clusterThread(thread))
        barriers.fence(thread)
      },
      waitForPrevious: (thread) => accesses.overlaps.wait(thread, accesses.clusterThread(thread)),
      launchDependents: (thread) => accesses.overlaps.launchDependents(thread),
      fenceBarrierInit: (thread) => barriers.fence(thread),
      warpSync: (warp) => order.warpSync(warp),
      endRegion: () => accesses.requests.flush(),
      warpgroupStep: (thread, site) => wgmma.step(thread, site),
      registerAccess: (thread, register, site) => wgmma.registerAccess(thread, register, site),
      wgmmaFence: (thread, site) => wgmma.fence(thread, site),
      wgmmaProduct: (thread, a, b, window, site) => wgmma.product(thread, a, b, window, site),
      wgmmaCommit: (thread, site) => wgmma.commit(thread, site),
      wgmmaWait: (thread, pending, site) => wgmma.wait(thread, pending, site),
    }
  }

  allocated(address: number, bytes: number): void {
    this.accesses.allocations.add(address, bytes)
    this.accesses.globalShadow.setInitialised(address, bytes, false)
  }

  freed(address: number): void {
    this.accesses.freed(address)
  }

  initialised(address: number, bytes: number): void {
    this.accesses.overlaps.interrupt()
    this.accesses.globalShadow.setInitialised(address, bytes)
  }

  copied(dst: number, src: number, bytes: number): void {
    this.accesses.overlaps.interrupt()
    this.accesses.globalShadow.copyInitialised(dst, src, bytes)
  }

  beginLaunch(launch: LaunchInfo): void {
    this.launch = launch
    this.instructions = new Map()
    this.accesses.beginLaunch(launch)
  }

  /** The imports through which a launch copies; with a seed copies end by chance, otherwise as late as they can. */
  beginCopies(engine: CopyEngine, seed: number | undefined): CopyImports {
    return this.copies.beginLaunch(engine, seed)
  }

  beginCluster(first: number, window: number): void {
    this.accesses.beginCluster(first)
    this.groups.beginCluster()
    this.barriers.beginCluster(window)
    this.copies.beginCluster(first)
    this.wgmma.beginCluster()
    this.enter(0)
  }

  enter(rank: number): void {
    this.accesses.enter(rank)
    this.wgmma.enter(rank)
  }
  barrier(rank: number): void {
    this.accesses.order.barrier(rank)
  }
  arrive(key: number, rank: number, warp: number): void {
    this.accesses.order.arrive(keyOf(key, rank), rank, warp)
  }
  pass(key: number, rank: number, warp: number): void {
    this.accesses.order.pass(keyOf(key, rank), rank, warp)
  }
  land(must: boolean): boolean {
    const landed = this.copies.land(must)
    if (must && !landed) this.barriers.checkParities(true)
    return landed
  }
  endCluster(): void {
    this.wgmma.endCluster()
    this.copies.endCluster()
    this.barriers.endCluster()
    this.accesses.endCluster()
    this.accesses.requests.flush()
  }

  countInstruction(opcode: string, executions: number): void {
    const name = classify(opcode)
    this.instructions.set(name, (this.instructions.get(name) ?? 0) + executions)
  }

  endLaunch(): LaunchReport {
    const report: LaunchReport = {
      kernel: this.launch.kernel,
      findings: this.accesses.findings.list(),
      memory: this.accesses.requests.take(),
      instructions: Object.fromEntries(this.instructions),
      copiedBytes: this.copies.takeMoved(),
    }
    this.launch = idle
    return report
  }
}

/** Named barriers are those of a CTA; the cluster's barrier has a negative key. */
function keyOf(key: number, rank: number): number {
  return key < 0 ? key : 16 * rank + key
}
