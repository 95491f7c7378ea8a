import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { groupOrders, tileByte } from '../checkpoint/import/qserve.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import { copyCompanionFiles } from '../checkpoint/quantized.ts'
import type { QuantizedMatrix } from '../checkpoint/quantized-matrix.ts'
import type { TensorPlan } from '../checkpoint/safetensors-writer.ts'
import { byteLengthOf } from '../checkpoint/tensor.ts'
import { TorchWriter } from '../checkpoint/torch-writer.ts'
import type { DType } from '../dsl/dtype.ts'
import { f16Bits, f16Value } from '../dsl/half.ts'
import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { headProjection, layerProjections, type Projection } from '../models/projections.ts'
import { halfBits, quantizedTensors, weightFormatOf } from '../models/weights.ts'
import { bytesOf } from '../runtime/bytes.ts'
import type { ConvertOptions } from './convert-checkpoint.ts'
import { checkApart, checkNew } from './destination.ts'
import { QuantizeError } from './error.ts'

const fileName = 'pytorch_model.bin'

/** Rows and columns of a tile of codes. */
const tile = 32

/** A tensor of the result and what makes it. */
interface Exported {
  readonly plan: TensorPlan
  make(): Uint8Array
}

/**
 * Writes a quantized checkpoint of ours in the layout of QServe's engine, whose tensors `checkpoint/import/qserve.ts`
 * describes: 8-bit weights, 4-bit weights of one level, or of two with groups of 128. Everything else becomes f16. Returns
 * the tensors' bytes. Throws `QuantizeError` for what that layout has no place for.
 */
export async function exportQServe(
  dst: string,
  src: Checkpoint,
  { onProgress = () => {} }: Pick<ConvertOptions, 'onProgress'>,
): Promise<number> {
  checkApart(dst, src)
  checkNew(dst, fileName)
  const tensors = [...exported(src)]
  copyCompanionFiles(dst, src.folder)
  describe(dst, src)
  const bytes = tensors.map(({ plan }) => byteLengthOf(plan))
  const total = bytes.reduce((sum, size) => sum + size, 0)
  const writer = await TorchWriter.create(
    join(dst, fileName),
    tensors.map(({ plan }) => plan),
  )
  try {
    let done = 0
    for (const [i, { plan, make }] of tensors.entries()) {
      await writer.write(plan.name, make())
      done += bytes[i]!
      onProgress(done, total)
    }
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  return total
}

function* exported(src: Checkpoint): Generator<Exported> {
  const { config, format, tensors, folder } = src
  const name = weightFormatOf(src)
  const refuse = (what: string): never => {
    throw new QuantizeError(`${folder} ${what}, which QServe has no place for; quantize the model without it`)
  }
  if (name !== 'w8a8' && name !== 'w4a8' && name !== 'w4a8-g128') return refuse(`holds weights as ${name}`)
  if (format.exceptions) refuse('has products in formats of their own')
  if (format.head) refuse('has a quantized output head')
  if (format.kv.keyMean || format.kv.keyHadamard) refuse('transforms its keys before they are cached')
  const own = new Set<string>()
  for (let layer = 0; layer < config.layers; layer++)
    for (const projection of Object.values(layerProjections(config)) as Projection[]) {
      const prefix = `model.layers.${layer}.`
      for (const suffix of Object.values(quantizedTensors)) own.add(`${prefix}${projection.path}.${suffix}`)
      yield* exportedProduct(src, name, prefix, projection)
    }
  for (const each of tensors.names.filter((tensor) => !own.has(tensor))) yield exportedFloats(src, each)
  const { path } = headProjection(config)
  if (config.tieEmbeddings) yield exportedFloats(src, 'model.embed_tokens.weight', `${path}.weight`)
}

function exportedFloats({ tensors }: Checkpoint, source: string, name = source): Exported {
  return {
    plan: { name, dtype: 'f16', shape: tensors.info(source).shape },
    make: () => bytesOf(halfBits(tensors.read(source), 'f16')),
  }
}

type QServeFormat = 'w8a8' | 'w4a8' | 'w4a8-g128'

/** The parts of a product apart, since QServe stacks them itself. */
function* exportedProduct(
  src: Checkpoint,
  format: QServeFormat,
  prefix: string,
  { path, parts, n, k, bias }: Projection,
): Generator<Exported> {
  const read = (name: keyof typeof quantizedTensors): Uint8Array =>
    src.tensors.read(`${prefix}${path}.${quantizedTensors[name]}`).bytes
  let whole: QuantizedMatrix | undefined
  const matrix = (): QuantizedMatrix => {
    whole ??= {
      ...((weightFormats[format] as WeightFormat).unpack(words(read('w')), n, k) as QuantizedMatrix),
      scale: halfs(read('scale')),
      ...(format === 'w4a8' && { zero: read('zero') }),
    }
    return whole
  }
  let first = 0
  for (const [i, part] of parts.entries()) {
    const rows = [first, first + part.n] as const
    first += part.n
    if (part.n % tile !== 0)
      throw new QuantizeError(
        `${prefix}${part.path} has ${part.n} rows, and QServe packs ${tile} at a time; this model cannot be exported`,
      )
    const tensor = (
      name: string,
      dtype: DType,
      shape: readonly number[],
      make: () => ArrayBufferView,
    ): Exported => ({
      plan: { name: `${prefix}${part.path}.${name}`, dtype, shape },
      make: () => bytesOf(make()),
    })
    const scales = (): Uint16Array => matrix().scale.slice(...rows)
    if (format === 'w8a8') {
      yield tensor('weight', 'i8', [part.n, k], () => matrix().codes.slice(rows[0] * k, rows[1] * k))
      yield tensor('dequant_scale', 'f16', [part.n], scales)
    } else {
      yield tensor('qweight', 'i8', [part.n, k / 2], () =>
        packTiles(matrix().codes.subarray(rows[0] * k, rows[1] * k), part.n, k),
      )
      yield tensor('s1_scales', 'f16', [part.n], scales)
      if (format === 'w4a8')
        yield tensor('s1_szeros', 'f16', [part.n], () => {
          const { scale, zero } = matrix()
          return Uint16Array.from(scale, (s, row) => f16Bits(f16Value(s) * zero![row]!)).slice(...rows)
        })
      else {
        const groups = k / 128
        const parameters = (of: 'groupScale' | 'groupMin') => (): Uint8Array =>
          packGroups(bytesOf(matrix()[of]!.subarray(rows[0] * groups, rows[1] * groups)), part.n, groups)
        yield tensor('s2_scales', 'i8', [groups, part.n], parameters('groupScale'))
        yield tensor('s2_zeros', 'i8', [groups, part.n], parameters('groupMin'))
      }
    }
    if (bias)
      yield tensor('bias', 'f16', [part.n], () => {
        const stacked = src.tensors.read(`${prefix}${path}.${quantizedTensors.bias}`)
        return halfBits(stacked, 'f16').slice(...rows)
      })
    if (i === parts.length - 1) whole = undefined
  }
}

const words = (bytes: Uint8Array): Uint32Array => new Uint32Array(new Uint8Array(bytes).buffer)
const halfs = (bytes: Uint8Array): Uint16Array => new Uint16Array(new Uint8Array(bytes).buffer)

function packTiles(codes: ArrayLike<number>, n: number, k: number): Uint8Array {
  const bytes = new Uint8Array((n * k) / 2)
  for (let row = 0; row < n; row++)
    for (let column = 0; column < k; column++)
      bytes[tileByte(row, column, k)]! |= codes[row * k + column]! << (row & 16 ? 4 : 0)
  return bytes
}

/** [K / 128, rows in QServe's order] from [rows, K / 128]. */
function packGroups(src: Uint8Array, n: number, groups: number): Uint8Array {
  const [order] = groupOrders
  const bytes = new Uint8Array(src.length)
  for (let row = 0; row < n; row++)
    for (let group = 0; group < groups; group++) {
      const place = (row & ~31) + order((row >> 4) & 1, (row >> 3) & 1, row & 7)
      bytes[group * n + place] = src[row * groups + group]!
    }
  return bytes
}

/** What other engines that read the layout look for in the configuration. */
function describe(dst: string, { format }: Checkpoint): void {
  const path = join(dst, 'config.json')
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  const { bits, group } = format.weights
  const quantization_config = { quant_method: 'qoq', wbits: bits, group_size: group || -1 }
  writeFileSync(path, `${JSON.stringify({ ...config, quantization_config }, null, 2)}\n`)
}
