import { crc32 } from 'node:zlib'
import { CheckpointError } from './error.ts'
import { PartialFile } from './partial-file.ts'
import type { TensorPlan } from './safetensors-writer.ts'
import { byteLengthOf, elementCount } from './tensor.ts'
import { storageNames } from './torch-file.ts'
import { centralEntry, directoryEnd, localHeader, type WrittenEntry } from './zip-writer.ts'

/** The folder of all entries; PyTorch takes the first that it finds. */
const root = 'archive'

/** More than an entry takes in an archive beside its bytes. */
const entryBytes = 256

/**
 * Writes a dictionary of tensors as `torch.save` does, to be read by `torch.load`, with `weights_only` too. Tensors arrive one
 * after the other in the order of their plans. The file is there whole or not at all.
 */
export class TorchWriter {
  readonly #file: PartialFile
  readonly #plans: readonly TensorPlan[]
  readonly #entries: WrittenEntry[] = []
  #next = 0
  #position = 0

  private constructor(file: PartialFile, plans: readonly TensorPlan[]) {
    this.#file = file
    this.#plans = plans
  }

  /** Throws `CheckpointError` when the disk has no room for the whole file. */
  static async create(path: string, plans: readonly TensorPlan[]): Promise<TorchWriter> {
    const pickle = dictionary(plans)
    const needed = plans.reduce((sum, plan) => sum + byteLengthOf(plan) + entryBytes, pickle.byteLength)
    const writer = new TorchWriter(await PartialFile.create(path, needed), plans)
    await writer.#add('data.pkl', pickle)
    await writer.#add('byteorder', Buffer.from('little'))
    await writer.#add('version', Buffer.from('3\n'))
    return writer
  }

  /** Writes the whole of the next tensor. After an error the file is given up. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const plan = this.#plans[this.#next]
    if (name !== plan?.name)
      return this.#file.refuse(`tensor ${name} came where ${plan?.name ?? 'the end'} is next`)
    if (bytes.byteLength !== byteLengthOf(plan))
      return this.#file.refuse(
        `tensor ${name} was announced with ${byteLengthOf(plan)} bytes and given ${bytes.byteLength}`,
      )
    await this.#add(`data/${this.#next++}`, bytes)
  }

  /** Puts the file in its place. Throws `CheckpointError` when a tensor was not written. */
  async finish(): Promise<void> {
    const missing = this.#plans[this.#next]
    if (missing) return this.#file.refuse(`tensor ${missing.name} was announced and never written`)
    const directory = Buffer.concat(this.#entries.map(centralEntry))
    const start = this.#position
    await this.#append(directory)
    await this.#append(directoryEnd(this.#entries.length, start, directory.length))
    await this.#file.finish()
  }

  /** Removes what was written. Harmless after `finish` or a second time. */
  abort(): Promise<void> {
    return this.#file.abort()
  }

  async #add(name: string, bytes: Uint8Array): Promise<void> {
    const { byteLength } = bytes
    const entry = { name: `${root}/${name}`, byteLength, checksum: crc32(bytes), offset: this.#position }
    this.#entries.push(entry)
    await this.#append(localHeader(entry))
    await this.#append(bytes)
  }

  async #append(bytes: Uint8Array): Promise<void> {
    await this.#file.writeAt(bytes, this.#position)
    this.#position += bytes.byteLength
  }
}

/** The pickle of an ordered dictionary of contiguous tensors, in protocol 2. */
function dictionary(plans: readonly TensorPlan[]): Buffer {
  const ordered = [global('collections', 'OrderedDict'), Buffer.from(')R')]
  const tensor = ({ name, dtype, shape }: TensorPlan, i: number): Buffer[] => {
    const storage = storageNames[dtype]
    if (storage === undefined)
      throw new CheckpointError(`tensor ${name} holds ${dtype}, which PyTorch has no class for`)
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, extent) => product * extent, 1))
    return [
      text(name),
      global('torch._utils', '_rebuild_tensor_v2'),
      Buffer.from('(('),
      text('storage'),
      global('torch', storage),
      text(String(i)),
      text('cpu'),
      whole(elementCount(shape)),
      Buffer.from('tQ'),
      whole(0),
      tuple(shape),
      tuple(strides),
      Buffer.from([0x89]),
      ...ordered,
      Buffer.from('tR'),
    ]
  }
  return Buffer.concat([
    Buffer.from([0x80, 2]),
    ...ordered,
    Buffer.from('('),
    ...plans.flatMap(tensor),
    Buffer.from('u.'),
  ])
}

const global = (module: string, name: string): Buffer => Buffer.from(`c${module}\n${name}\n`)
const tuple = (values: readonly number[]): Buffer =>
  Buffer.concat([Buffer.from('('), ...values.map(whole), Buffer.from('t')])

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const head = Buffer.alloc(5)
  head.write('X', 'latin1')
  head.writeUInt32LE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

function whole(value: number): Buffer {
  if (value < 2 ** 31) {
    const bytes = Buffer.alloc(5)
    bytes.write('J', 'latin1')
    bytes.writeInt32LE(value, 1)
    return bytes
  }
  const bytes = Buffer.alloc(10)
  bytes.writeUInt16LE(0x088a)
  bytes.writeBigInt64LE(BigInt(value), 2)
  return bytes
}
