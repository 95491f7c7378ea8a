import { CheckpointError } from './error.ts'
import type { InputFile } from './input-file.ts'

/** A file inside an archive, stored as it is: a range of the archive's bytes. */
export interface ZipEntry {
  readonly name: string
  /** Where its bytes begin in the archive. */
  readonly start: number
  readonly byteLength: number
}

/** Of the records of an archive: their first words. */
export const zipSignatures = {
  end: 0x06054b50,
  end64: 0x06064b50,
  locator64: 0x07064b50,
  central: 0x02014b50,
  local: 0x04034b50,
}
/** Bytes of the records, without names and extra fields. */
export const zipLengths = { end: 22, end64: 56, locator64: 20, central: 46, local: 30 }

/** The comment at the end of an archive is at most this long, which bounds the search for the end's record. */
const mostCommentBytes = 0xffff

/** The most that the directory of an archive may take; the largest checkpoints need less than 1 MB. */
const mostDirectoryBytes = 64 * 2 ** 20

/**
 * The entries of a zip archive, with the extensions for archives over 4 GB. Only archives without compression are read,
 * since that is how PyTorch writes tensors. Entries must lie inside the file, apart from one another, and have names of
 * their own. Nothing is ever unpacked to a path. Throws `CheckpointError`.
 *
 * Source: PKWARE's APPNOTE 6.3, sections 4.3 and 4.5.3.
 */
export function readZip(file: InputFile): Map<string, ZipEntry> {
  const refuse = (fault: string): never => {
    throw new CheckpointError(`${file.path} is not a valid archive: ${fault}; download it again`)
  }
  const { count, start, byteLength } = findDirectory(file, refuse)
  const directory = viewOf(file.slice(start, byteLength))
  const entries = new Map<string, ZipEntry>()
  let at = 0
  for (let i = 0; i < count; i++) {
    if (at + zipLengths.central > byteLength || directory.getUint32(at, true) !== zipSignatures.central)
      refuse(`entry ${i} of ${count} is not in its directory`)
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) =>
      directory.getUint16(at + offset, true),
    )
    const end = at + zipLengths.central + nameBytes! + extraBytes! + commentBytes!
    if (end > byteLength) refuse(`entry ${i} of ${count} runs out of the directory`)
    const nameStart = at + zipLengths.central
    const name = Buffer.from(directory.buffer, directory.byteOffset + nameStart, nameBytes).toString('utf8')
    const [flags, method] = [8, 10].map((offset) => directory.getUint16(at + offset, true))
    if (flags! & 1) refuse(`${name} is encrypted`)
    if (method !== 0) refuse(`${name} is compressed, and PyTorch stores tensors as they are`)
    const extra = new DataView(directory.buffer, directory.byteOffset + nameStart + nameBytes!, extraBytes)
    const { size, stored, offset } = sizesOf(directory, at, extra, () => refuse(`${name} has no size`))
    if (size !== stored) refuse(`${name} claims ${size} bytes and stores ${stored}`)
    if (entries.has(name)) refuse(`two entries are called ${name}`)
    entries.set(name, { name, start: contentStart(file, name, offset, start, refuse), byteLength: size })
    at = end
  }
  checkApart([...entries.values()], start, refuse)
  return entries
}

type Refuse = (fault: string) => never

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

interface Directory {
  readonly count: number
  readonly start: number
  readonly byteLength: number
}

function findDirectory(file: InputFile, refuse: Refuse): Directory {
  const tailBytes = Math.min(file.size, zipLengths.end + mostCommentBytes)
  const tailStart = file.size - tailBytes
  const tail = viewOf(file.slice(tailStart, tailBytes))
  let at = tailBytes - zipLengths.end
  while (at >= 0 && tail.getUint32(at, true) !== zipSignatures.end) at--
  if (at < 0) refuse('it has no directory at its end (the download may be incomplete)')
  const end = tailStart + at
  let directory = {
    count: tail.getUint16(at + 10, true),
    byteLength: tail.getUint32(at + 12, true),
    start: tail.getUint32(at + 16, true),
  }
  const locatorStart = end - zipLengths.locator64
  if (locatorStart >= 0) {
    const locator = viewOf(file.slice(locatorStart, zipLengths.locator64))
    if (locator.getUint32(0, true) === zipSignatures.locator64) {
      const recordStart = wide(locator, 8, refuse)
      if (recordStart + zipLengths.end64 > locatorStart) refuse('its 64-bit directory lies outside of it')
      const record = viewOf(file.slice(recordStart, zipLengths.end64))
      if (record.getUint32(0, true) !== zipSignatures.end64) refuse('its 64-bit directory is missing')
      directory = {
        count: wide(record, 32, refuse),
        byteLength: wide(record, 40, refuse),
        start: wide(record, 48, refuse),
      }
    }
  }
  const { count, byteLength, start } = directory
  if (start + byteLength > end) refuse('its directory lies outside of it')
  if (byteLength > mostDirectoryBytes)
    refuse(`its directory takes ${byteLength} bytes, and ${mostDirectoryBytes} is the most that is allowed`)
  if (count * zipLengths.central > byteLength) refuse(`its directory is too short for ${count} entries`)
  return directory
}

function wide(view: DataView, offset: number, refuse: Refuse): number {
  const value = view.getBigUint64(offset, true)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) refuse(`it claims a size of ${value} bytes`)
  return Number(value)
}

/** Sizes and place of an entry, from the 64-bit extra field where the 32-bit ones say so. */
function sizesOf(
  directory: DataView,
  at: number,
  extra: DataView,
  refuse: Refuse,
): { stored: number; size: number; offset: number } {
  let [stored, size, offset] = [20, 24, 42].map((field) => directory.getUint32(at + field, true)) as [
    number,
    number,
    number,
  ]
  if (![stored, size, offset].includes(0xffffffff)) return { stored, size, offset }
  for (let i = 0; i + 4 <= extra.byteLength; ) {
    const id = extra.getUint16(i, true)
    const end = i + 4 + extra.getUint16(i + 2, true)
    if (end > extra.byteLength) return refuse('')
    let field = i + 4
    const next = (value: number): number => {
      if (value !== 0xffffffff) return value
      if (field + 8 > end) return refuse('')
      field += 8
      return wide(extra, field - 8, refuse)
    }
    if (id === 1) {
      // In the order of the specification; only those that do not fit in 32 bits are there.
      size = next(size)
      stored = next(stored)
      offset = next(offset)
      return { stored, size, offset }
    }
    i = end
  }
  return refuse('')
}

function contentStart(file: InputFile, name: string, offset: number, limit: number, refuse: Refuse): number {
  if (offset + zipLengths.local > limit) refuse(`${name} lies outside of it`)
  const local = viewOf(file.slice(offset, zipLengths.local))
  if (local.getUint32(0, true) !== zipSignatures.local) refuse(`${name} is not where its directory says`)
  return offset + zipLengths.local + local.getUint16(26, true) + local.getUint16(28, true)
}

function checkApart(entries: readonly ZipEntry[], limit: number, refuse: Refuse): void {
  let end = 0
  let previous = ''
  for (const { name, start, byteLength } of entries.toSorted((a, b) => a.start - b.start)) {
    if (start < end) refuse(`${previous} and ${name} overlap`)
    end = start + byteLength
    if (end > limit) refuse(`${name} ends outside of it (the download may be incomplete)`)
    previous = name
  }
}
