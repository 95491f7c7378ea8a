import { CheckpointError } from './error.ts'
import { InputFile } from './input-file.ts'
import { PickleError, type PickleFunction, type PickleValue, parsePickle } from './pickle.ts'
import {
  checkPart,
  elementCount,
  missingTensor,
  readWhole,
  type StoredDType,
  type TensorInfo,
  type TensorSource,
} from './tensor.ts'
import { readZip, type ZipEntry } from './zip.ts'

/** Larger descriptions of tensors than any model has. */
const mostPickleBytes = 64 * 2 ** 20

/** PyTorch's classes of storage. */
const storages: Readonly<Record<string, { readonly dtype: StoredDType; readonly bytes: number }>> = {
  DoubleStorage: { dtype: 'f64', bytes: 8 },
  FloatStorage: { dtype: 'f32', bytes: 4 },
  HalfStorage: { dtype: 'f16', bytes: 2 },
  BFloat16Storage: { dtype: 'bf16', bytes: 2 },
  LongStorage: { dtype: 'i64', bytes: 8 },
  IntStorage: { dtype: 'i32', bytes: 4 },
  ShortStorage: { dtype: 'i16', bytes: 2 },
  CharStorage: { dtype: 'i8', bytes: 1 },
  ByteStorage: { dtype: 'u8', bytes: 1 },
  BoolStorage: { dtype: 'bool', bytes: 1 },
}

/** The class of storage for each element type. */
export const storageNames: Readonly<Partial<Record<StoredDType, string>>> = Object.fromEntries(
  Object.entries(storages).map(([name, { dtype }]) => [dtype, name]),
)

class StorageType {
  readonly dtype: StoredDType
  readonly bytes: number

  constructor({ dtype, bytes }: { readonly dtype: StoredDType; readonly bytes: number }) {
    this.dtype = dtype
    this.bytes = bytes
  }
}

/** A range of the file that tensors share. */
class Storage {
  readonly type: StorageType
  readonly entry: ZipEntry

  constructor(type: StorageType, entry: ZipEntry) {
    this.type = type
    this.entry = entry
  }
}

/** A tensor as its pickle describes it, in elements. */
class StoredTensor {
  readonly storage: Storage
  readonly offset: number
  readonly shape: readonly number[]

  constructor(storage: Storage, offset: number, shape: readonly number[]) {
    this.storage = storage
    this.offset = offset
    this.shape = shape
  }
}

/** A file that `torch.save` wrote: tensors by their names, those of nested dictionaries joined by dots. */
export interface TorchFile extends TensorSource {
  readonly path: string
  /** Single numbers that lie among the tensors, such as a step count, by name. */
  readonly numbers: ReadonlyMap<string, number>
}

/**
 * Opens a file of PyTorch 1.6 or later (`.bin`, `.pt`, `.pth`): a zip archive with a pickle that describes tensors and one
 * stored entry for the elements of each. The pickle is read as data: it may name dictionaries, tensors and element
 * types, and nothing that it holds is executed. All sizes are checked against the file before an element is read.
 * Throws `CheckpointError`.
 */
export function openTorchFile(path: string): TorchFile {
  const file = InputFile.open(path)
  try {
    const { tensors, numbers } = describe(file)
    const info = (name: string): TensorInfo => {
      const tensor = tensors.get(name) ?? missingTensor(path, name)
      const { type } = tensor.storage
      return {
        name,
        dtype: type.dtype,
        shape: tensor.shape,
        byteLength: elementCount(tensor.shape) * type.bytes,
      }
    }
    const readInto = (dst: Uint8Array, name: string, byteOffset = 0): void => {
      checkPart(name, info(name).byteLength, byteOffset, dst.byteLength)
      const { storage, offset } = tensors.get(name)!
      file.read(dst, storage.entry.start + offset * storage.type.bytes + byteOffset)
    }
    return {
      path,
      numbers,
      names: [...tensors.keys()],
      has: (name) => tensors.has(name),
      info,
      readInto,
      read: (name) => readWhole(path, info(name), (dst) => readInto(dst, name)),
      close: () => file.close(),
    }
  } catch (error) {
    file.close()
    if (!(error instanceof PickleError)) throw error
    throw new CheckpointError(
      `${path} is not a checkpoint of PyTorch: ${error.message}; get the model as safetensors`,
    )
  }
}

interface Description {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly numbers: ReadonlyMap<string, number>
}

function describe(file: InputFile): Description {
  const start = file.slice(0, Math.min(4, file.size))
  if (Buffer.from(start).toString('latin1') !== 'PK\x03\x04')
    throw new CheckpointError(
      `${file.path} is no zip archive, as PyTorch has written them since 1.6; get the model as safetensors, or save it ` +
        'again with a later PyTorch',
    )
  const entries = readZip(file)
  const pickle = [...entries.values()].find(({ name }) => /^[^/]+\/data\.pkl$/.test(name))
  if (!pickle) throw new CheckpointError(`${file.path} is an archive without data.pkl; it holds no tensors`)
  if (pickle.byteLength > mostPickleBytes)
    throw new CheckpointError(
      `${file.path} describes its tensors in ${pickle.byteLength} bytes, and ${mostPickleBytes} is the most that is allowed`,
    )
  const folder = pickle.name.slice(0, -'data.pkl'.length)
  checkByteOrder(file, entries.get(`${folder}byteorder`))
  const value = parsePickle(file.slice(pickle.start, pickle.byteLength), {
    global: (module, name) => globalNamed(module, name),
    persistent: (id) => storageOf(id, folder, entries),
  })
  const tensors = new Map<string, StoredTensor>()
  const numbers = new Map<string, number>()
  collect(tensors, numbers, '', value, 0)
  return { tensors, numbers }
}

function checkByteOrder(file: InputFile, entry: ZipEntry | undefined): void {
  if (!entry) return
  const order = Buffer.from(file.slice(entry.start, Math.min(entry.byteLength, 16))).toString('latin1')
  if (order !== 'little')
    throw new CheckpointError(
      `${file.path} has its bytes in ${order} order; save it again on a little-endian machine`,
    )
}

/** The globals that a dictionary of tensors is made of. */
function globalNamed(module: string, name: string): PickleFunction | object | undefined {
  const storage = module === 'torch' && Object.hasOwn(storages, name) ? storages[name] : undefined
  if (storage) return new StorageType(storage)
  const key = `${module}.${name}`
  return Object.hasOwn(functions, key) ? functions[key] : undefined
}

const functions: Readonly<Record<string, PickleFunction>> = {
  'collections.OrderedDict': (args) => {
    if (args.length > 0) throw new PickleError('a dictionary is made from arguments')
    return new Map()
  },
  'torch._utils._rebuild_tensor_v2': ([storage, offset, shape, strides]) => {
    if (!(storage instanceof Storage) || !isCount(offset) || !isCounts(shape) || !isCounts(strides))
      throw new PickleError(
        'a tensor is made from something else than a storage, an offset, a shape and strides',
      )
    return tensorOf(storage, offset, shape, strides)
  },
  'torch._utils._rebuild_parameter': ([tensor]) => {
    if (!(tensor instanceof StoredTensor)) throw new PickleError('a parameter is made from no tensor')
    return tensor
  },
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isCounts = (value: unknown): value is number[] => Array.isArray(value) && value.every(isCount)

/** In exact arithmetic, so that extents that multiply past 2^53 cannot round into a size that fits. */
function tensorOf(
  storage: Storage,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): StoredTensor {
  if (strides.length !== shape.length)
    throw new PickleError(`a tensor of ${shape.length} dimensions has ${strides.length} strides`)
  let count = 1n
  let stride = 1n
  for (let i = shape.length - 1; i >= 0; i--) {
    const extent = BigInt(shape[i]!)
    if (extent !== 1n && BigInt(strides[i]!) !== stride)
      throw new PickleError(`a tensor of shape [${shape}] has strides [${strides}]; only whole rows are read`)
    count *= extent
    stride *= extent || 1n
  }
  const { entry, type } = storage
  const end = (BigInt(offset) + count) * BigInt(type.bytes)
  if (end > BigInt(entry.byteLength))
    throw new PickleError(
      `a tensor of shape [${shape}] needs ${end} bytes of ${entry.name}, which has ${entry.byteLength}`,
    )
  return new StoredTensor(storage, offset, shape)
}

function storageOf(id: PickleValue, folder: string, entries: ReadonlyMap<string, ZipEntry>): Storage {
  const [kind, type, key, , count] = Array.isArray(id) ? (id as readonly PickleValue[]) : []
  if (kind !== 'storage' || !(type instanceof StorageType) || typeof key !== 'string' || !isCount(count))
    throw new PickleError('it refers to something else than the elements of a tensor')
  const entry = entries.get(`${folder}data/${key}`)
  if (!entry) throw new PickleError(`the elements ${JSON.stringify(key)} are missing`)
  if (BigInt(count) * BigInt(type.bytes) !== BigInt(entry.byteLength))
    throw new PickleError(
      `${entry.name} has ${entry.byteLength} bytes, and ${count} elements of ${type.dtype} are announced`,
    )
  return new Storage(type, entry)
}

/** Deeper dictionaries than any checkpoint has. */
const deepest = 8

function collect(
  tensors: Map<string, StoredTensor>,
  numbers: Map<string, number>,
  name: string,
  value: PickleValue,
  depth: number,
): void {
  if (depth > deepest) throw new PickleError(`dictionaries lie more than ${deepest} deep in one another`)
  if (value instanceof StoredTensor) {
    if (tensors.has(name)) throw new PickleError(`two tensors are called ${name}`)
    tensors.set(name, value)
  } else if (typeof value === 'number') numbers.set(name, value)
  else if (value instanceof Map)
    for (const [key, item] of value as Map<PickleValue, PickleValue>)
      if (typeof key === 'string' || typeof key === 'number')
        collect(tensors, numbers, name === '' ? String(key) : `${name}.${key}`, item, depth + 1)
}
