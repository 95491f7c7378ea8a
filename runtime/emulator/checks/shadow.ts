import type { Order } from './order.ts'

export type AccessKind = 'read' | 'write' | 'atomic'

/** An earlier access that is not ordered with the present one. */
export interface Conflict {
  readonly kind: AccessKind
  readonly access: number
  readonly site: number
}

/**
 * A cell remembers who accessed some bytes last: four access names (see `Order`), 0 for none, then their sites. Two
 * readers are kept: the second slot takes a reader that is not ordered with the first, so that of many concurrent readers
 * one at least differs from any writer that comes.
 */
const write = 0
const firstRead = 1
const secondRead = 2
const atomic = 3
const siteOf = 4
const none = -1
const cellSize = 8

const pageBytes = 4096
const pageWords = pageBytes / 4
const allInitialised = 15
/** In the write slot of a word: its bytes have cells of their own, since an access covered a part of it. */
const split = -1

interface Page {
  /** A bit per byte, four to a word. */
  readonly initialised: Uint8Array
  cells: Int32Array | undefined
  byteCells: Int32Array | undefined
  /** By word: 1 + the site of the `cp.async` that is still to write it. */
  pending: Int32Array | undefined
}

/** What is known about each byte of a memory: whether it was written, who accessed it, whether a copy is under way. */
export class Shadow {
  private readonly order: Order
  /** By page index: position in `pages`, 0 for none. */
  private pageNumbers = new Int32Array(1024)
  private pages: Page[] = [newPage()]
  private pendingWords = 0

  constructor(order: Order) {
    this.order = order
  }

  private page(address: number): Page {
    const index = (address / pageBytes) | 0
    if (index >= this.pageNumbers.length) {
      const grown = new Int32Array(Math.max(index + 1, this.pageNumbers.length * 2))
      grown.set(this.pageNumbers)
      this.pageNumbers = grown
    }
    let number = this.pageNumbers[index]!
    if (number === 0) {
      number = this.pages.push(newPage()) - 1
      this.pageNumbers[index] = number
    }
    return this.pages[number]!
  }

  /** Forgets what is initialised and which copies are under way; accesses stay, to be told by their names. */
  clearContents(): void {
    for (const page of this.pages) {
      page.initialised.fill(0)
      page.pending = undefined
    }
    this.pendingWords = 0
  }

  /** Forgets accesses, keeps what is initialised. */
  clearAccesses(): void {
    for (const page of this.pages) {
      page.cells = undefined
      page.byteCells = undefined
    }
  }

  setInitialised(address: number, bytes: number, initialised = true): void {
    for (let at = address; at < address + bytes; ) {
      const page = this.page(at)
      const offset = at & (pageBytes - 1)
      const length = Math.min(address + bytes - at, pageBytes - offset)
      if (offset % 4 === 0 && length % 4 === 0)
        page.initialised.fill(initialised ? allInitialised : 0, offset / 4, (offset + length) / 4)
      else
        for (let byte = offset; byte < offset + length; byte++)
          if (initialised) page.initialised[byte >> 2]! |= 1 << (byte & 3)
          else page.initialised[byte >> 2]! &= ~(1 << (byte & 3))
      at += length
    }
  }

  copyInitialised(dst: number, src: number, bytes: number): void {
    const step = dst % 4 === 0 && src % 4 === 0 && bytes % 4 === 0 ? 4 : 1
    const flags = Uint8Array.from({ length: bytes / step }, (_, i) =>
      step === 4
        ? this.page(src + 4 * i).initialised[((src + 4 * i) & (pageBytes - 1)) >> 2]!
        : Number(this.isInitialised(src + i, 1)),
    )
    flags.forEach((flag, i) => {
      const at = dst + step * i
      if (step === 4) this.page(at).initialised[(at & (pageBytes - 1)) >> 2] = flag
      else this.setInitialised(at, 1, flag === 1)
    })
  }

  /** Whether all bytes were written; the access lies within one page, as aligned ones do. */
  isInitialised(address: number, bytes: number): boolean {
    const { initialised } = this.page(address)
    const offset = address & (pageBytes - 1)
    if (bytes < 4) {
      const mask = ((1 << bytes) - 1) << (offset & 3)
      return (initialised[offset >> 2]! & mask) === mask
    }
    for (let word = offset >> 2; word < (offset + bytes) >> 2; word++)
      if (initialised[word] !== allInitialised) return false
    return true
  }

  /**
   * Records an aligned access by the thread entered last, named `access`, and returns an earlier one that conflicts:
   * touches the same byte, one of the two writes, not both are atomic, and no order is known. Accesses with names below
   * `stale` do not count.
   */
  record(
    kind: AccessKind,
    address: number,
    bytes: number,
    access: number,
    site: number,
    stale: number,
  ): Conflict | undefined {
    const page = this.page(address)
    page.cells ??= new Int32Array(pageWords * cellSize)
    const offset = address & (pageBytes - 1)
    if (bytes < 4) return this.recordBytes(page, kind, offset, bytes, access, site, stale)
    let conflict: Conflict | undefined
    for (let at = offset; at < offset + bytes; at += 4) {
      const cell = (at >> 2) * cellSize
      const found =
        page.cells[cell + write] === split
          ? this.recordBytes(page, kind, at, 4, access, site, stale)
          : this.recordCell(page.cells, cell, kind, access, site, stale)
      conflict ??= found
    }
    return conflict
  }

  /** An access named from `from` to before `to` that would conflict with one of a kind to these bytes. */
  earlier(kind: AccessKind, address: number, bytes: number, from: number, to: number): Conflict | undefined {
    const { cells, byteCells } = this.page(address)
    if (!cells) return undefined
    const offset = address & (pageBytes - 1)
    const slots = kind === 'read' ? [write, atomic] : [write, atomic, firstRead, secondRead]
    for (let byte = offset; byte < offset + bytes; byte++) {
      const word = (byte >> 2) * cellSize
      const isSplit = cells[word + write] === split
      if (!isSplit && byte % 4 !== 0 && byte !== offset) continue
      const [from4, cell] = isSplit ? [byteCells!, byte * cellSize] : [cells, word]
      for (const slot of slots) {
        const name = from4[cell + slot]!
        if (name >= from && name < to) return conflictIn(from4, cell, slot)
      }
    }
    return undefined
  }

  private recordBytes(
    page: Page,
    kind: AccessKind,
    offset: number,
    bytes: number,
    access: number,
    site: number,
    stale: number,
  ): Conflict | undefined {
    const cells = page.cells!
    const cell = (offset >> 2) * cellSize
    page.byteCells ??= new Int32Array(pageBytes * cellSize)
    if (cells[cell + write] !== split) {
      for (let byte = offset & ~3; byte < (offset & ~3) + 4; byte++)
        page.byteCells.set(cells.subarray(cell, cell + cellSize), byte * cellSize)
      cells[cell + write] = split
    }
    let conflict: Conflict | undefined
    for (let byte = offset; byte < offset + bytes; byte++)
      conflict ??= this.recordCell(page.byteCells, byte * cellSize, kind, access, site, stale)
    return conflict
  }

  private recordCell(
    cells: Int32Array,
    cell: number,
    kind: AccessKind,
    access: number,
    site: number,
    stale: number,
  ): Conflict | undefined {
    let slot = none
    if (this.unordered(cells[cell + write]!, access, stale)) slot = write
    else if (kind !== 'atomic' && this.unordered(cells[cell + atomic]!, access, stale)) slot = atomic
    if (kind === 'read') {
      const conflict = slot === none ? undefined : conflictIn(cells, cell, slot)
      const own = this.unordered(cells[cell + firstRead]!, access, stale) ? secondRead : firstRead
      cells[cell + own] = access
      cells[cell + siteOf + own] = site
      return conflict
    }
    if (slot === none && this.unordered(cells[cell + firstRead]!, access, stale)) slot = firstRead
    if (slot === none && this.unordered(cells[cell + secondRead]!, access, stale)) slot = secondRead
    const conflict = slot === none ? undefined : conflictIn(cells, cell, slot)
    cells[cell + write] = 0
    cells[cell + firstRead] = 0
    cells[cell + secondRead] = 0
    cells[cell + atomic] = 0
    const own = kind === 'write' ? write : atomic
    cells[cell + own] = access
    cells[cell + siteOf + own] = site
    return conflict
  }

  private unordered(earlier: number, access: number, stale: number): boolean {
    return earlier >= stale && earlier !== access && !this.order.precedes(earlier)
  }

  /** Marks whole words as awaiting a copy, or no longer. */
  setPending(address: number, bytes: number, site: number | undefined): void {
    const page = this.page(address)
    page.pending ??= new Int32Array(pageWords)
    const first = (address & (pageBytes - 1)) >> 2
    for (let word = first; word < first + (bytes >> 2); word++) {
      this.pendingWords += Number(site !== undefined) - Number(page.pending[word] !== 0)
      page.pending[word] = site === undefined ? 0 : site + 1
    }
  }

  /** The site of a copy that is still to write one of these bytes. */
  pendingSite(address: number, bytes: number): number | undefined {
    if (this.pendingWords === 0) return undefined
    const { pending } = this.page(address)
    if (!pending) return undefined
    const offset = address & (pageBytes - 1)
    for (let word = offset >> 2; word <= (offset + bytes - 1) >> 2; word++)
      if (pending[word]) return pending[word]! - 1
    return undefined
  }
}

function conflictIn(cells: Int32Array, cell: number, slot: number): Conflict {
  const kind = slot === write ? 'write' : slot === atomic ? 'atomic' : 'read'
  return { kind, access: cells[cell + slot]!, site: cells[cell + siteOf + slot]! }
}

function newPage(): Page {
  return {
    initialised: new Uint8Array(pageWords),
    cells: undefined,
    byteCells: undefined,
    pending: undefined,
  }
}
