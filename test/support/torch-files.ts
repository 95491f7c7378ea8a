import { writeFileSync } from 'node:fs'

/** Files as PyTorch writes them, made from PKWARE's and pickletools' descriptions, with faults on demand. */

/** A part of an archive; the fields after `bytes` default to the truth. */
export interface ArchivePart {
  readonly name: string
  readonly bytes: Uint8Array
  readonly method?: number
  readonly flags?: number
  /** What the directory claims. */
  readonly claimed?: number
  readonly offset?: number
}

/** A zip archive without compression. */
export function zipOf(parts: readonly ArchivePart[]): Buffer {
  const pieces: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const { name, bytes, method = 0, flags = 0, claimed = bytes.length, offset = at } of parts) {
    const local = Buffer.alloc(30)
    local.writeUInt32LE(0x04034b50, 0)
    local.writeUInt32LE(bytes.length, 18)
    local.writeUInt32LE(bytes.length, 22)
    local.writeUInt16LE(name.length, 26)
    pieces.push(local, Buffer.from(name), Buffer.from(bytes))
    const central = Buffer.alloc(46)
    central.writeUInt32LE(0x02014b50, 0)
    central.writeUInt16LE(flags, 8)
    central.writeUInt16LE(method, 10)
    central.writeUInt32LE(claimed, 20)
    central.writeUInt32LE(claimed, 24)
    central.writeUInt16LE(name.length, 28)
    central.writeUInt32LE(offset, 42)
    directory.push(central, Buffer.from(name))
    at += 30 + name.length + bytes.length
  }
  const listing = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(parts.length, 8)
  end.writeUInt16LE(parts.length, 10)
  end.writeUInt32LE(listing.length, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...pieces, listing, end])
}

export const pickle = {
  begin: Buffer.from([0x80, 2]),
  end: Buffer.from('.'),
  dictionary: Buffer.from('}'),
  mark: Buffer.from('('),
  setItems: Buffer.from('u'),
  tuple: Buffer.from('t'),
  call: Buffer.from('R'),
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  text(value: string): Buffer {
    const bytes = Buffer.from(value)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(bytes.length)
    return Buffer.concat([Buffer.from('X'), length, bytes])
  },
  /** A whole number of up to 8 bytes. */
  whole(value: number): Buffer {
    const bytes = Buffer.alloc(10)
    bytes.writeUInt8(0x8a, 0)
    bytes.writeUInt8(8, 1)
    bytes.writeBigInt64LE(BigInt(value), 2)
    return bytes
  },
  wholes: (values: readonly number[]) =>
    Buffer.concat([pickle.mark, ...values.map((value) => pickle.whole(value)), pickle.tuple]),
  /** The elements `key`, as a class of storage. */
  storage: (type: string, key: string, count: number) =>
    Buffer.concat([
      pickle.mark,
      pickle.text('storage'),
      pickle.global('torch', type),
      pickle.text(key),
      pickle.text('cpu'),
      pickle.whole(count),
      pickle.tuple,
      Buffer.from('Q'),
    ]),
  tensor: (storage: Buffer, offset: number, shape: readonly number[], strides: readonly number[]) =>
    Buffer.concat([
      pickle.global('torch._utils', '_rebuild_tensor_v2'),
      pickle.mark,
      storage,
      pickle.whole(offset),
      pickle.wholes(shape),
      pickle.wholes(strides),
      Buffer.from([0x89]),
      pickle.global('collections', 'OrderedDict'),
      Buffer.from(')R'),
      pickle.tuple,
      pickle.call,
    ]),
  items: (items: readonly (readonly [name: string, value: Buffer])[]) =>
    Buffer.concat([
      pickle.dictionary,
      pickle.mark,
      ...items.flatMap(([name, value]) => [pickle.text(name), value]),
      pickle.setItems,
    ]),
}

/** A tensor to be written; `type` is PyTorch's class of storage. */
export interface TorchTensor {
  readonly type: string
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

/** Writes a dictionary of tensors. */
export function writeTorch(path: string, tensors: Readonly<Record<string, TorchTensor>>): string {
  const names = Object.entries(tensors)
  const described = names.map(([name, { type, shape }], i) => {
    const count = shape.reduce((product, extent) => product * extent, 1)
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, extent) => product * extent, 1))
    return [name, pickle.tensor(pickle.storage(type, String(i), count), 0, shape, strides)] as const
  })
  const data = Buffer.concat([pickle.begin, pickle.items(described), pickle.end])
  const parts = names.map(([, { bytes }], i) => ({ name: `archive/data/${i}`, bytes }))
  writeFileSync(path, zipOf([{ name: 'archive/data.pkl', bytes: data }, ...parts]))
  return path
}
