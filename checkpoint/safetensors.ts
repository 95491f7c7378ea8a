import { dirname, join } from 'node:path'
import { CheckpointError } from './error.ts'
import { InputFile } from './input-file.ts'
import { readJsonFile } from './json-file.ts'
import { parseStrictJson } from './strict-json.ts'
import {
  checkPart,
  missingTensor,
  readWhole,
  type StoredDType,
  type TensorInfo,
  type TensorSource,
} from './tensor.ts'

/**
 * A strict reader of safetensors files: an 8-byte little-endian header length, a JSON header, the data.
 *
 * Everything that the header says is checked against the file when it is opened, before a byte of data is used: known
 * types, shape times element size equal to the byte range, ranges that cover the data without gap or overlap. Data
 * is read when asked for. Source: the format's description at github.com/huggingface/safetensors.
 */
export interface SafetensorsFile extends TensorSource {
  readonly path: string
  /** The `__metadata__` map. */
  readonly metadata: ReadonlyMap<string, string>
}

/** Names of the format's element types. */
export const storedDTypes: Readonly<Record<string, { readonly dtype: StoredDType; readonly bytes: number }>> =
  {
    F64: { dtype: 'f64', bytes: 8 },
    F32: { dtype: 'f32', bytes: 4 },
    F16: { dtype: 'f16', bytes: 2 },
    BF16: { dtype: 'bf16', bytes: 2 },
    F8_E4M3: { dtype: 'e4m3', bytes: 1 },
    F8_E5M2: { dtype: 'e5m2', bytes: 1 },
    I64: { dtype: 'i64', bytes: 8 },
    I32: { dtype: 'i32', bytes: 4 },
    I16: { dtype: 'i16', bytes: 2 },
    I8: { dtype: 'i8', bytes: 1 },
    U64: { dtype: 'u64', bytes: 8 },
    U32: { dtype: 'u32', bytes: 4 },
    U16: { dtype: 'u16', bytes: 2 },
    U8: { dtype: 'u8', bytes: 1 },
    BOOL: { dtype: 'bool', bytes: 1 },
  }

/** The limit of the reference implementation, which keeps a hostile length from becoming an allocation. */
const maxHeaderBytes = 100_000_000

interface Entry extends TensorInfo {
  readonly begin: number
}

interface Header {
  readonly entries: ReadonlyMap<string, Entry>
  readonly metadata: ReadonlyMap<string, string>
  /** Where the data begin in the file. */
  readonly dataStart: number
}

/** Opens a file and checks its whole header. Throws `CheckpointError`. */
export function openSafetensors(path: string): SafetensorsFile {
  const file = InputFile.open(path)
  let header: Header
  try {
    header = readHeader(file)
  } catch (error) {
    file.close()
    throw error
  }
  const entry = (name: string): Entry => header.entries.get(name) ?? missingTensor(path, name)
  const readInto = (dst: Uint8Array, name: string, byteOffset = 0): void => {
    const { begin, byteLength } = entry(name)
    checkPart(name, byteLength, byteOffset, dst.byteLength)
    file.read(dst, header.dataStart + begin + byteOffset)
  }
  return {
    path,
    metadata: header.metadata,
    names: [...header.entries.keys()],
    has: (name) => header.entries.has(name),
    info: entry,
    readInto,
    read: (name) => readWhole(path, entry(name), (dst) => readInto(dst, name)),
    close: () => file.close(),
  }
}

/**
 * Opens a checkpoint in several files by its index, such as `model.safetensors.index.json`, whose `weight_map` says which
 * file holds a tensor. Files must lie beside the index, and their names end as `extension` says. Throws `CheckpointError`.
 */
export function openShards(
  indexPath: string,
  openShard: (path: string) => TensorSource,
  extension: '.safetensors' | '.bin',
): TensorSource {
  const shardOf = readIndex(indexPath, extension)
  const files = new Map<string, TensorSource>()
  const close = (): void => {
    for (const file of files.values()) file.close()
  }
  const file = (name: string): TensorSource => {
    const shard = shardOf.get(name)
    return shard === undefined ? missingTensor(indexPath, name) : files.get(shard)!
  }
  try {
    for (const shard of new Set(shardOf.values()))
      files.set(shard, openShard(join(dirname(indexPath), shard)))
    for (const [name, shard] of shardOf)
      if (!files.get(shard)!.has(name))
        throw new CheckpointError(
          `${indexPath} says that ${shard} holds tensor ${name}, but it does not; download the checkpoint again`,
        )
  } catch (error) {
    close()
    throw error
  }
  return {
    names: [...shardOf.keys()],
    has: (name) => shardOf.has(name),
    info: (name) => file(name).info(name),
    read: (name) => file(name).read(name),
    readInto: (dst, name, byteOffset) => file(name).readInto(dst, name, byteOffset),
    close,
  }
}

function readHeader(file: InputFile): Header {
  const { path, size } = file
  const refuse = (fault: string): never => {
    throw new CheckpointError(`${path} is not a valid safetensors file: ${fault}; download it again`)
  }
  if (size < 8) refuse(`it has ${size} bytes, too few for a header length`)
  const lengthBytes = file.slice(0, 8)
  const length = new DataView(lengthBytes.buffer).getBigUint64(0, true)
  if (length > BigInt(maxHeaderBytes))
    refuse(`its header claims ${length} bytes, and ${maxHeaderBytes} is the most that is allowed`)
  const dataStart = 8 + Number(length)
  if (dataStart > size)
    refuse(`its header claims ${length} bytes and the file has ${size - 8} (the download may be incomplete)`)
  let header: unknown
  try {
    header = parseStrictJson(file.slice(8, Number(length)))
  } catch (error) {
    refuse(`its header is not strict JSON: ${(error as Error).message}`)
  }
  if (!isRecord(header)) return refuse('its header is not a JSON object')
  const entries: Entry[] = []
  const metadata = new Map<string, string>()
  for (const [name, value] of Object.entries(header)) {
    if (name !== '__metadata__') entries.push(parseEntry(name, value, refuse))
    else if (!isRecord(value)) refuse('__metadata__ is not an object')
    else
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== 'string') return refuse(`__metadata__ entry ${key} is not a string`)
        metadata.set(key, text)
      }
  }
  checkCover(entries, size - dataStart, refuse)
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata, dataStart }
}

function parseEntry(name: string, value: unknown, refuse: (fault: string) => never): Entry {
  if (!isRecord(value)) return refuse(`tensor ${name} is not described by an object`)
  const { dtype: tag, shape, data_offsets: offsets, ...rest } = value
  const [extra] = Object.keys(rest)
  if (extra !== undefined) refuse(`tensor ${name} has an unknown field ${extra}`)
  const stored = typeof tag === 'string' && Object.hasOwn(storedDTypes, tag) ? storedDTypes[tag] : undefined
  if (stored === undefined) return refuse(`tensor ${name} has an unknown element type ${JSON.stringify(tag)}`)
  if (!Array.isArray(shape) || !shape.every(isCount))
    return refuse(`tensor ${name} has a shape that is not a list of non-negative integers`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1])
    return refuse(`tensor ${name} has data_offsets that are not two ascending non-negative integers`)
  const [begin, end] = offsets as [number, number]
  // In exact arithmetic: extents that multiply past 2^53 must not round into agreement.
  const expected = shape.reduce((product, extent) => product * BigInt(extent), BigInt(stored.bytes))
  if (expected !== BigInt(end - begin))
    refuse(`tensor ${name} of shape [${shape}] in ${tag} needs ${expected} bytes, but has ${end - begin}`)
  return { name, dtype: stored.dtype, shape, byteLength: end - begin, begin }
}

/** Data ranges in order of their start must follow one another exactly, from 0 to the end of the file. */
function checkCover(entries: readonly Entry[], dataBytes: number, refuse: (fault: string) => never): void {
  let end = 0
  let previous = 'the header'
  for (const entry of entries.toSorted((a, b) => a.begin - b.begin || a.byteLength - b.byteLength)) {
    if (entry.begin < end) refuse(`tensors ${previous} and ${entry.name} overlap`)
    if (entry.begin > end)
      refuse(`${entry.begin - end} bytes between ${previous} and ${entry.name} belong to no tensor`)
    end = entry.begin + entry.byteLength
    previous = entry.name
    if (end > dataBytes)
      refuse(
        `tensor ${entry.name} ends ${end - dataBytes} bytes past the end (the download may be incomplete)`,
      )
  }
  if (end < dataBytes) refuse(`the last ${dataBytes - end} bytes belong to no tensor`)
}

function readIndex(path: string, extension: string): Map<string, string> {
  const refuse = (fault: string): never => {
    throw new CheckpointError(`${path} is not a valid index of shards: ${fault}; download it again`)
  }
  const index = readJsonFile(path, parseStrictJson)
  if (!isRecord(index) || !isRecord(index.weight_map)) return refuse('it has no weight_map')
  const shardOf = new Map<string, string>()
  for (const [name, shard] of Object.entries(index.weight_map)) {
    // A plain file name: nothing that could lead out of the folder.
    if (typeof shard !== 'string' || !/^[\w.-]+$/.test(shard) || !shard.endsWith(extension))
      return refuse(
        `tensor ${name} lies in ${JSON.stringify(shard)}, which is not the name of a file beside it`,
      )
    shardOf.set(name, shard)
  }
  if (shardOf.size === 0) refuse('its weight_map is empty')
  return shardOf
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
