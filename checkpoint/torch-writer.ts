import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import type { DType } from '../dsl/dtype.ts'
import { CheckpointError } from './error.ts'
import { storageNames } from './torch-file.ts'
import { centralEntry, directoryEnd, localHeader, type WrittenEntry } from './zip-writer.ts'

/** A tensor to be written. */
export interface TorchPlan {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
}

/** The folder of all entries; PyTorch takes the first that it finds. */
const root = 'archive'

/**
 * Writes a dictionary of tensors as `torch.save` does, to be read by `torch.load`, with `weights_only` too. Tensors arrive one
 * after the other in the order of their plans. The file has its name when it is complete.
 */
export class TorchWriter {
  readonly #path: string
  readonly #temporaryPath: string
  readonly #file: FileHandle
  readonly #names: readonly string[]
  readonly #entries: WrittenEntry[] = []
  #next = 0
  #position = 0

  private constructor(path: string, temporaryPath: string, file: FileHandle, names: readonly string[]) {
    this.#path = path
    this.#temporaryPath = temporaryPath
    this.#file = file
    this.#names = names
  }

  static async create(path: string, plans: readonly TorchPlan[]): Promise<TorchWriter> {
    const temporaryPath = `${path}.partial`
    const file = await open(temporaryPath, 'w')
    const writer = new TorchWriter(
      path,
      temporaryPath,
      file,
      plans.map(({ name }) => name),
    )
    try {
      await writer.#add('data.pkl', dictionary(plans))
      await writer.#add('byteorder', Buffer.from('little'))
      await writer.#add('version', Buffer.from('3\n'))
    } catch (error) {
      await writer.abort()
      throw error
    }
    return writer
  }

  /** Writes the next tensor. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    const expected = this.#names[this.#next]
    if (name !== expected)
      throw new CheckpointError(`tensor ${name} was written where ${expected ?? 'the end'} is next`)
    await this.#add(`data/${this.#next++}`, bytes)
  }

  async finish(): Promise<void> {
    if (this.#next < this.#names.length)
      throw new CheckpointError(`${this.#path} lacks tensor ${this.#names[this.#next]}`)
    const directory = Buffer.concat(this.#entries.map(centralEntry))
    await this.#append(directory)
    await this.#append(
      directoryEnd(this.#entries.length, this.#position - directory.length, directory.length),
    )
    await this.#file.sync()
    await this.#file.close()
    await rename(this.#temporaryPath, this.#path)
  }

  async abort(): Promise<void> {
    await this.#file.close().catch(() => {})
    await rm(this.#temporaryPath, { force: true })
  }

  async #add(name: string, bytes: Uint8Array): Promise<void> {
    const entry = {
      name: `${root}/${name}`,
      byteLength: bytes.byteLength,
      checksum: crc32(bytes),
      offset: this.#position,
    }
    this.#entries.push(entry)
    await this.#append(localHeader(entry))
    await this.#append(bytes)
  }

  async #append(bytes: Uint8Array): Promise<void> {
    try {
      await this.#file.writeFile(bytes)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new CheckpointError(
        `${this.#path} cannot be written (${code}); free space, or name another folder`,
      )
    }
    this.#position += bytes.byteLength
  }
}

/** The pickle of an ordered dictionary of contiguous tensors, in protocol 2. */
function dictionary(plans: readonly TorchPlan[]): Buffer {
  const ordered = [global('collections', 'OrderedDict'), Buffer.from(')R')]
  const tensor = ({ name, dtype, shape }: TorchPlan, i: number): Buffer[] => {
    const storage = storageNames[dtype]
    if (storage === undefined)
      throw new CheckpointError(`tensor ${name} holds ${dtype}, which PyTorch has no class for`)
    const count = shape.reduce((product, extent) => product * extent, 1)
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, extent) => product * extent, 1))
    return [
      text(name),
      global('torch._utils', '_rebuild_tensor_v2'),
      Buffer.from('(('),
      text('storage'),
      global('torch', storage),
      text(String(i)),
      text('cpu'),
      whole(count),
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
