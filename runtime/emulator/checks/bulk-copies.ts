import { type Box, boxBytes, bytesThatExist, type CopyEngine, type CopyImports } from '../run/copy-engine.ts'
import { mapMagic, mapWords } from '../run/tensor-map.ts'
import type { Accesses } from './accesses.ts'
import { nameOf } from './findings.ts'
import type { Barrier, Issued, Mbarriers } from './mbarriers.ts'
import type { AccessKind } from './shadow.ts'

/** A copy to shared memory that was issued and has not ended. */
interface UnderWay {
  readonly barrier: Barrier
  readonly issued: Issued
  /** Its name among accesses. */
  readonly access: number
  /** Offset among the shared memory of the cluster. */
  readonly to: number
  readonly bytes: number
  readonly site: number
  readonly move: () => void
}

/** Stores of a thread that were committed together, or are still to be. */
interface Group {
  /** Under which their sources are held. */
  readonly owner: number
  readonly sites: number[]
  /** Names of its stores among accesses. */
  readonly accesses: number[]
  isRead: boolean
}

/** Owners of holds below belong to products of matrices. */
const firstOwner = 1 << 20
/** Stores are no barrier's business; they share an engine, the last one. */
const storeEngine = -1

/** The copy engine of a checked launch: copies to shared memory end late, in an order of their own. */
export class BulkCopies implements CopyImports {
  private readonly accesses: Accesses
  private readonly barriers: Mbarriers
  /** Of the launch. */
  private engine: CopyEngine | undefined
  private underWay: UnderWay[] = []
  /** The latest copy for each barrier. */
  private readonly latest = new Map<Barrier, UnderWay>()
  /** By thread of the cluster. */
  private readonly groups = new Map<number, Group[]>()
  private readonly open = new Map<number, Group>()
  private owners = firstOwner
  private seed: number | undefined
  private random = 1
  /** Bytes moved, by direction. */
  private moved = new Map<string, number>()

  constructor(accesses: Accesses, barriers: Mbarriers) {
    this.accesses = accesses
    this.barriers = barriers
  }

  /** Without a seed copies end as late as they can. */
  beginLaunch(engine: CopyEngine, seed: number | undefined): CopyImports {
    this.engine = engine
    this.seed = seed
    this.moved = new Map()
    return {
      copyBulk: (...args) => this.copyBulk(...args),
      copyTensor: (...args) => this.copyTensor(...args),
      storeBulk: (...args) => this.storeBulk(...args),
      addBulk: (...args) => this.addBulk(...args),
      storeTensor: (...args) => this.storeTensor(...args),
    }
  }

  beginCluster(first: number): void {
    this.underWay = []
    this.latest.clear()
    this.groups.clear()
    this.open.clear()
    if (this.seed !== undefined) this.random = Math.imul(this.seed + first, 0x9e3779b1) | 1
  }

  /** Bytes moved in the launch, by direction. */
  takeMoved(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.moved)
  }

  private count(direction: string, bytes: number): void {
    this.moved.set(direction, (this.moved.get(direction) ?? 0) + bytes)
  }

  private next(): number {
    this.random ^= this.random << 13
    this.random ^= this.random >>> 17
    this.random ^= this.random << 5
    return this.random >>> 0
  }

  copyBulk(
    to: number,
    from: number,
    bytes: number,
    barrier: number,
    ctas: number,
    state: number,
    thread: number,
    site: number,
  ): void {
    const { accesses } = this
    this.checkSize(bytes, thread, site)
    this.checkPlace('global', from, 16, thread, site)
    accesses.checkBounds('global', 'read', from, bytes, thread, site)
    this.readRange(from, bytes, thread, site)
    this.issue(to, bytes, 16, barrier, ctas, state, thread, site, (target) => {
      this.engine!.move(target, from, bytes, site)
    })
  }

  copyTensor(
    to: number,
    map: number,
    rank: number,
    x: number,
    y: number,
    z: number,
    barrier: number,
    ctas: number,
    state: number,
    thread: number,
    site: number,
  ): void {
    const box = this.box(map, rank, x, y, z, thread, site)
    this.forEachRow(box, 'read', thread, site, (address, bytes) =>
      this.readRange(address, bytes, thread, site),
    )
    const bytes = boxBytes(box)
    this.issue(to, bytes, alignmentOf(box), barrier, ctas, state, thread, site, (target) => {
      this.engine!.loadBox(target, box, site)
    })
  }

  /** A copy to shared memory begins, at each CTA that gets the bytes. */
  private issue(
    to: number,
    bytes: number,
    alignment: number,
    barrierAddress: number,
    ctas: number,
    state: number,
    thread: number,
    site: number,
    move: (target: number) => void,
  ): void {
    const { accesses, barriers } = this
    this.checkPlace('shared', barriers.offsetOf(to), alignment, thread, site)
    if (ctas >>> 0 >= 2 ** accesses.ctas)
      accesses.findings.fail(
        'out-of-bounds',
        'shared',
        site,
        `${accesses.findings.who(thread, site)} copies to the CTAs of the mask 0x${(ctas >>> 0).toString(16)}; the cluster has ${accesses.ctas}.`,
      )
    this.engine!.forEachCta(ctas, state, (apart, rank) => {
      const target = (to >>> 0) + apart
      const barrier = barriers.use((barrierAddress >>> 0) + apart, thread, site, true)
      const at = barriers.offsetOf(target)
      if (accesses.ownerOf(at, bytes) !== rank)
        accesses.findings.fail(
          'out-of-bounds',
          'shared',
          site,
          `${accesses.sentence('shared', 'write', at, bytes, thread, site)}, outside of the shared memory of its CTA.`,
        )
      accesses.order.enter(thread)
      const access = accesses.order.startCopy(barrier.engine)
      for (let offset = 0; offset < bytes; offset += 16)
        accesses.touchByEngine(at + offset, access, thread, site)
      if (rank !== accesses.rank) accesses.visit(rank, access, site)
      const issued = barriers.issue(barrier, site)
      const copy = { barrier, issued, access, to: at, bytes, site, move: () => move(target) }
      this.underWay.push(copy)
      this.latest.set(barrier, copy)
      this.count('global to shared', bytes)
    })
  }

  /** Between two rounds: with a seed some copies end, by chance; `must` asks for one. Tells whether one did. */
  land(must: boolean): boolean {
    const { underWay } = this
    if (must) {
      if (underWay.length === 0) return false
      this.end(this.seed === undefined ? 0 : this.next() % underWay.length)
      return true
    }
    if (this.seed === undefined) return false
    for (let i = underWay.length - 1; i >= 0; i--) if (this.next() % 4 === 0) this.end(i)
    return true
  }

  private end(index: number): void {
    const [{ barrier, issued, access, to, bytes, move }] = this.underWay.splice(index, 1) as [UnderWay]
    const { sharedShadow, proxy } = this.accesses
    for (let offset = 0; offset < bytes; offset += 16) sharedShadow.setPending(to + offset, 16, undefined)
    sharedShadow.setInitialised(to, bytes)
    proxy.wroteAsync(to, bytes)
    move()
    this.barriers.land(barrier, issued, access, bytes)
  }

  storeBulk(to: number, from: number, bytes: number, thread: number, site: number): void {
    this.checkStore(to, bytes, thread, site)
    const access = this.hold(from, bytes, 16, thread, site)
    this.storeRange('write', to, bytes, access, thread, site)
    this.count('shared to global', bytes)
    this.engine!.storeBulk(to, from, bytes, thread, site)
  }

  addBulk(to: number, from: number, bytes: number, type: number, thread: number, site: number): void {
    this.checkStore(to, bytes, thread, site)
    const access = this.hold(from, bytes, 16, thread, site)
    this.storeRange('atomic', to, bytes, access, thread, site)
    this.count('added to global', bytes)
    this.engine!.addBulk(to, from, bytes, type, thread, site)
  }

  storeTensor(
    map: number,
    rank: number,
    x: number,
    y: number,
    z: number,
    from: number,
    thread: number,
    site: number,
  ): void {
    const box = this.box(map, rank, x, y, z, thread, site)
    const access = this.hold(from, boxBytes(box), alignmentOf(box), thread, site)
    this.forEachRow(box, 'write', thread, site, (address, bytes) =>
      this.storeRange('write', address, bytes, access, thread, site),
    )
    this.count('shared to global', bytesThatExist(box))
    this.engine!.storeTensor(map, rank, x, y, z, from, thread, site)
  }

  private checkStore(to: number, bytes: number, thread: number, site: number): void {
    this.checkSize(bytes, thread, site)
    this.checkPlace('global', to, 16, thread, site)
    this.accesses.checkBounds('global', 'write', to, bytes, thread, site)
  }

  /**
   * A store begins to read shared memory; nobody may write there until it has been waited for. Gives its name among
   * accesses.
   */
  private hold(from: number, bytes: number, alignment: number, thread: number, site: number): number {
    const { accesses } = this
    const at = this.barriers.offsetOf(from)
    this.checkPlace('shared', at, alignment, thread, site)
    accesses.checkBounds('shared', 'read', at, bytes, thread, site)
    const index = accesses.clusterThread(thread)
    const group = this.open.get(index) ?? this.newGroup()
    this.open.set(index, group)
    group.sites.push(site)
    for (let offset = 0; offset < bytes; offset += 16)
      accesses.readByEngine(group.owner, at + offset, thread, site)
    accesses.order.enter(thread)
    const access = accesses.order.startCopy(storeEngine)
    group.accesses.push(access)
    return access
  }

  private newGroup(): Group {
    return { owner: this.owners++, sites: [], accesses: [], isRead: false }
  }

  commit(thread: number): void {
    const index = this.accesses.clusterThread(thread)
    const group = this.open.get(index) ?? this.newGroup()
    this.open.delete(index)
    const groups = this.groups.get(index)
    if (groups) groups.push(group)
    else this.groups.set(index, [group])
  }

  /** `readOnly`: until the sources have been read. */
  wait(thread: number, pending: number, readOnly: boolean): void {
    const groups = this.groups.get(this.accesses.clusterThread(thread)) ?? []
    for (const group of groups.slice(0, Math.max(0, groups.length - pending))) {
      group.isRead = true
      this.accesses.readers.release(group.owner)
      if (readOnly) continue
      groups.shift()
      this.accesses.order.enter(thread)
      for (const access of group.accesses) this.accesses.order.awaitCopy(access)
    }
  }

  private checkSize(bytes: number, thread: number, site: number): void {
    const { findings } = this.accesses
    if (bytes > 0 && bytes % 16 === 0) return
    findings.fail(
      'misaligned',
      'shared',
      site,
      `${findings.who(thread, site)} copies ${bytes} bytes, which is not a positive multiple of 16.`,
    )
  }

  private checkPlace(
    space: 'global' | 'shared',
    address: number,
    alignment: number,
    thread: number,
    site: number,
  ): void {
    if (address % alignment === 0) return
    const { findings } = this.accesses
    const at = space === 'shared' ? address - this.accesses.inCluster(0) : address
    findings.fail(
      'misaligned',
      space,
      site,
      `${findings.who(thread, site)} copies at 0x${at.toString(16)} of ${space} memory, which is not a multiple of ${alignment}.`,
    )
  }

  private box(map: number, rank: number, x: number, y: number, z: number, thread: number, site: number): Box {
    const { words } = this.engine!
    const at = (map >>> 0) >>> 2
    const { findings } = this.accesses
    if (words[at + mapWords.magic] !== mapMagic || words[at + mapWords.rank] !== rank)
      findings.fail(
        'tensor-map',
        'global',
        site,
        `${findings.who(thread, site)} needs a tensor map of ${rank} dimensions, and there is none at the address.`,
      )
    return this.engine!.box(map, rank, x, y, z, site)
  }

  /** The parts of rows that the tensor has. */
  private forEachRow(
    box: Box,
    kind: AccessKind,
    thread: number,
    site: number,
    body: (address: number, bytes: number) => void,
  ): void {
    const bytes = box.endByte - box.firstByte
    if (bytes === 0) return
    for (let slab = box.firstSlab; slab < box.endSlab; slab++)
      for (let row = box.firstRow; row < box.endRow; row++) {
        const address = box.address + slab * box.slabStride + row * box.rowStride + box.firstByte
        this.accesses.checkBounds('global', kind, address, bytes, thread, site)
        body(address, bytes)
      }
  }

  private readRange(address: number, bytes: number, thread: number, site: number): void {
    forEachPiece(address, bytes, (at, width) =>
      this.accesses.touch('global', 'read', at, width, thread, site),
    )
  }

  private storeRange(
    kind: AccessKind,
    address: number,
    bytes: number,
    access: number,
    thread: number,
    site: number,
  ): void {
    forEachPiece(address, bytes, (at, width) =>
      this.accesses.storeByEngine(kind, at, width, access, thread, site),
    )
  }

  endCluster(): void {
    const { findings, order } = this.accesses
    for (const { barrier, access, site } of this.latest.values()) {
      if (!this.underWay.some((copy) => copy.access === access) && order.isKnownTo(barrier.owner, access))
        continue
      findings.add('unawaited-copy', 'shared', site, undefined, () => {
        const what = nameOf(findings.site(site))
        return `The CTA ends although nobody has waited for the copy to its shared memory (${what}): wait for the phase of its mbarrier first.`
      })
    }
    const unread = [...this.open.values(), ...[...this.groups.values()].flat()].filter(
      ({ isRead }) => !isRead,
    )
    for (const { sites } of unread)
      for (const site of sites)
        findings.add('unawaited-copy', 'shared', site, undefined, () => {
          const what = nameOf(findings.site(site))
          return `The CTA ends although nobody has waited for the store from its shared memory (${what}): call waitBulk(0, { read: true }) first.`
        })
  }
}

/** Cuts a range into pieces as wide as their places allow. */
function forEachPiece(address: number, bytes: number, body: (at: number, width: number) => void): void {
  for (let at = address; at < address + bytes; ) {
    const left = address + bytes - at
    const width = [16, 4, 1].find((w) => at % w === 0 && w <= left)!
    body(at, width)
    at += width
  }
}

/** Of a tile in shared memory: swizzled ones begin where the pattern does. */
function alignmentOf({ swizzle }: Box): number {
  return Math.max(128, 8 * swizzle)
}
