import { zipLengths, zipSignatures } from './zip.ts'

/** A file in an archive that is being written, stored as it is. */
export interface WrittenEntry {
  readonly name: string
  readonly byteLength: number
  /** CRC-32. */
  readonly checksum: number
  /** Where its local header begins. */
  readonly offset: number
}

/** The version of the specification that has 64-bit sizes. */
const VERSION = 45
/** Stands for a number that the 64-bit extension holds. */
const WIDE = 0xffffffff

/** Goes before the bytes of an entry, which are fewer than 2^32. */
export function localHeader({ name, byteLength, checksum }: WrittenEntry): Buffer {
  const header = Buffer.alloc(zipLengths.local)
  header.writeUInt32LE(zipSignatures.local, 0)
  header.writeUInt16LE(VERSION, 4)
  header.writeUInt32LE(checksum, 14)
  header.writeUInt32LE(byteLength, 18)
  header.writeUInt32LE(byteLength, 22)
  header.writeUInt16LE(name.length, 26)
  return Buffer.concat([header, Buffer.from(name)])
}

/** An entry's part of the directory. */
export function centralEntry({ name, byteLength, checksum, offset }: WrittenEntry): Buffer {
  const header = Buffer.alloc(zipLengths.central)
  header.writeUInt32LE(zipSignatures.central, 0)
  header.writeUInt16LE(VERSION, 4)
  header.writeUInt16LE(VERSION, 6)
  header.writeUInt32LE(checksum, 16)
  header.writeUInt32LE(byteLength, 20)
  header.writeUInt32LE(byteLength, 24)
  header.writeUInt16LE(name.length, 28)
  header.writeUInt32LE(Math.min(offset, WIDE), 42)
  if (offset < WIDE) return Buffer.concat([header, Buffer.from(name)])
  const extra = Buffer.alloc(12)
  extra.writeUInt16LE(1, 0)
  extra.writeUInt16LE(8, 2)
  extra.writeBigUInt64LE(BigInt(offset), 4)
  header.writeUInt16LE(extra.length, 30)
  return Buffer.concat([header, Buffer.from(name), extra])
}

/** What ends an archive: the directory's place and size in 64 bits, and the record that old readers look for. */
export function directoryEnd(count: number, start: number, byteLength: number): Buffer {
  const wide = Buffer.alloc(zipLengths.end64)
  wide.writeUInt32LE(zipSignatures.end64, 0)
  wide.writeBigUInt64LE(BigInt(zipLengths.end64 - 12), 4)
  wide.writeUInt16LE(VERSION, 12)
  wide.writeUInt16LE(VERSION, 14)
  wide.writeBigUInt64LE(BigInt(count), 24)
  wide.writeBigUInt64LE(BigInt(count), 32)
  wide.writeBigUInt64LE(BigInt(byteLength), 40)
  wide.writeBigUInt64LE(BigInt(start), 48)
  const locator = Buffer.alloc(zipLengths.locator64)
  locator.writeUInt32LE(zipSignatures.locator64, 0)
  locator.writeBigUInt64LE(BigInt(start + byteLength), 8)
  locator.writeUInt32LE(1, 16)
  const end = Buffer.alloc(zipLengths.end)
  end.writeUInt32LE(zipSignatures.end, 0)
  end.writeUInt16LE(Math.min(count, 0xffff), 8)
  end.writeUInt16LE(Math.min(count, 0xffff), 10)
  end.writeUInt32LE(byteLength, 12)
  end.writeUInt32LE(Math.min(start, WIDE), 16)
  return Buffer.concat([wide, locator, end])
}
