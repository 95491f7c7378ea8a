import type { Site, SiteCounters } from './interface.ts'

const sectorBytes = 32
const banks = 32
const lanes = 32

interface SiteRequests {
  readonly counters: SiteCounters
  readonly bytes: number
  /** The warp whose accesses are being gathered. */
  warp: number
  /** By lane: how often it came since the last flush. */
  readonly times: Int32Array
  /** One row of 32 addresses per execution, -1 where a lane did not take part. */
  readonly rows: Float64Array[]
  used: number
}

/**
 * Gathers the accesses of single threads into requests of warps and counts what those cost.
 *
 * Threads run one after the other, so the n-th access of each lane at a site, since the last `flush`, is taken as one
 * request. Where lanes leave out different turns of a loop, requests may be matched otherwise than a GPU would.
 */
export class Requests {
  private sites: (SiteRequests | undefined)[] = []
  private dirty: SiteRequests[] = []

  record(
    siteIndex: number,
    site: Site,
    space: 'global' | 'shared',
    address: number,
    bytes: number,
    thread: number,
  ): void {
    const requests = this.sites[siteIndex] ?? this.open(siteIndex, site, space, bytes)
    const warp = thread >> 5
    const lane = thread & 31
    if (requests.warp !== warp) {
      if (requests.used > 0) this.count(requests)
      else this.dirty.push(requests)
      requests.warp = warp
    }
    const turn = requests.times[lane]!++
    if (turn >= requests.rows.length) requests.rows.push(new Float64Array(lanes).fill(-1))
    if (turn >= requests.used) requests.used = turn + 1
    requests.rows[turn]![lane] = address
  }

  private open(siteIndex: number, site: Site, space: 'global' | 'shared', bytes: number): SiteRequests {
    const counters = {
      site,
      space,
      requests: 0,
      sectors: 0,
      idealSectors: 0,
      wavefronts: 0,
      bankConflicts: 0,
    }
    const requests = { counters, bytes, warp: -1, times: new Int32Array(lanes), rows: [], used: 0 }
    this.sites[siteIndex] = requests
    return requests
  }

  /** A stretch of code ended for all threads: what follows at a site belongs to new requests. */
  flush(): void {
    for (const requests of this.dirty) {
      this.count(requests)
      requests.warp = -1
    }
    this.dirty.length = 0
  }

  /** Hands over the counters, in the order of sites, and starts anew. */
  take(): SiteCounters[] {
    this.flush()
    const counters = this.sites.filter((site) => site !== undefined).map((site) => site.counters)
    this.sites = []
    return counters
  }

  private count(requests: SiteRequests): void {
    const { counters, bytes } = requests
    for (let turn = 0; turn < requests.used; turn++) {
      const row = requests.rows[turn]!
      counters.requests++
      if (counters.space === 'global') {
        counters.sectors += distinct(row, sectorBytes)
        counters.idealSectors += Math.ceil((distinct(row, bytes) * bytes) / sectorBytes)
      } else countWavefronts(counters, row, bytes)
      row.fill(-1)
    }
    requests.used = 0
    requests.times.fill(0)
  }
}

const units = new Float64Array(lanes)

/** How many aligned units of a size the lanes touch; accesses are aligned, so none crosses a larger unit. */
function distinct(row: Float64Array, unit: number): number {
  let count = 0
  let sorted = true
  for (let lane = 0; lane < lanes; lane++) {
    if (row[lane]! < 0) continue
    const index = Math.floor(row[lane]! / unit)
    if (count > 0 && index < units[count - 1]!) sorted = false
    if (count === 0 || index !== units[count - 1]) units[count++] = index
  }
  if (!sorted) {
    const used = units.subarray(0, count).sort()
    count = 0
    for (let i = 0; i < used.length; i++) if (i === 0 || used[i] !== used[i - 1]) count++
  }
  return count
}

const wordsOfBank = new Int32Array(banks * lanes)
const inBank = new Int32Array(banks)

/**
 * A request of up to 4 bytes a lane passes at once, of 8 bytes in halves of the warp, of 16 in quarters. A pass serves
 * one word of each bank, to all lanes that want it; more words of a bank need further passes.
 */
function countWavefronts(counters: SiteCounters, row: Float64Array, bytes: number): void {
  const wordsPerLane = Math.max(1, bytes >> 2)
  const groupLanes = lanes / wordsPerLane
  for (let group = 0; group < lanes; group += groupLanes) {
    let passes = 0
    inBank.fill(0)
    for (let lane = group; lane < group + groupLanes; lane++) {
      if (row[lane]! < 0) continue
      const first = row[lane]! >> 2
      for (let word = first; word < first + wordsPerLane; word++) {
        const bank = word % banks
        const known = inBank[bank]!
        let i = 0
        while (i < known && wordsOfBank[bank * lanes + i] !== word) i++
        if (i < known) continue
        wordsOfBank[bank * lanes + known] = word
        inBank[bank] = known + 1
        if (known + 1 > passes) passes = known + 1
      }
    }
    if (passes === 0) continue
    counters.wavefronts += passes
    counters.bankConflicts += passes - 1
  }
}
