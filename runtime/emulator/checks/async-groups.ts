import type { Accesses } from './accesses.ts'

interface PendingCopy {
  readonly dst: number
  readonly bytes: number
  readonly site: number
}

/** `cp.async`: copies by threads, which a thread's wait for their group ends. */
export class AsyncGroups {
  private readonly accesses: Accesses
  /** By thread of the cluster: the copies of each committed group, oldest first, and those not yet committed. */
  private readonly groups = new Map<number, PendingCopy[][]>()
  private readonly open = new Map<number, PendingCopy[]>()

  constructor(accesses: Accesses) {
    this.accesses = accesses
  }

  beginCluster(): void {
    this.groups.clear()
    this.open.clear()
  }

  /** `bytes` at `dst`, an offset into the own window, of which the first `sourceBytes` come from `src`. */
  copy(dst: number, src: number, bytes: number, sourceBytes: number, thread: number, site: number): void {
    const to = this.accesses.inCluster(dst)
    this.accesses.checkBounds('shared', 'write', to, bytes, thread, site)
    this.accesses.checkAlignment('shared', 'write', to, bytes, thread, site)
    if (sourceBytes > 0) {
      this.accesses.checkBounds('global', 'read', src, sourceBytes, thread, site)
      this.accesses.checkAlignment('global', 'read', src, bytes, thread, site)
      this.accesses.requests.record(site, this.accesses.findings.site(site), 'global', src, bytes, thread)
      const whole = sourceBytes - (sourceBytes % 4)
      for (let at = 0; at < whole; at += 4) this.accesses.touch('global', 'read', src + at, 4, thread, site)
      for (let at = whole; at < sourceBytes; at++)
        this.accesses.touch('global', 'read', src + at, 1, thread, site)
    }
    this.accesses.touch('shared', 'write', to, bytes, thread, site)
    this.accesses.sharedShadow.setPending(to, bytes, site)
    const owner = this.accesses.clusterThread(thread)
    const copies = this.open.get(owner)
    if (copies) copies.push({ dst: to, bytes, site })
    else this.open.set(owner, [{ dst: to, bytes, site }])
  }

  commit(thread: number): void {
    const owner = this.accesses.clusterThread(thread)
    const copies = this.open.get(owner) ?? []
    this.open.delete(owner)
    const groups = this.groups.get(owner)
    if (groups) groups.push(copies)
    else this.groups.set(owner, [copies])
  }

  wait(thread: number, pending: number): void {
    const groups = this.groups.get(this.accesses.clusterThread(thread)) ?? []
    while (groups.length > pending)
      for (const { dst, bytes, site } of groups.shift()!) {
        this.accesses.sharedShadow.setPending(dst, bytes, undefined)
        // The copy is this thread's write from now on: others see it past the next barrier.
        this.accesses.touch('shared', 'write', dst, bytes, thread, site)
      }
  }
}
