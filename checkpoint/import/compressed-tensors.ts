import { z } from 'zod'
import { e4m3Value } from '../../dsl/float8.ts'
import { CheckpointError } from '../error.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'
import { elementCount, widen } from '../tensor.ts'
import {
  type ForeignFiles,
  type ForeignWeights,
  halfScales,
  kernelGroup,
  ownedPath,
  readShaped,
  spreadGroups,
  wordsOf,
} from './foreign.ts'
import { groupedFloats } from './four-bit.ts'

const scheme = 'compressed-tensors'

const numbers = z.object({
  num_bits: z.number(),
  type: z.enum(['int', 'float']),
  strategy: z.enum(['tensor', 'channel', 'group', 'token', 'block']),
  symmetric: z.boolean(),
  group_size: z.number().nullish(),
  dynamic: z.union([z.boolean(), z.string()]).nullish(),
})

const declaredAs = z.object({
  quant_method: z.literal(scheme),
  config_groups: z.record(z.string(), z.object({ weights: numbers, input_activations: numbers.nullish() })),
})

const suffixes = [
  'weight',
  'weight_packed',
  'weight_scale',
  'weight_shape',
  'weight_zero_point',
  'weight_g_idx',
  'input_scale',
]

/**
 * compressed-tensors as llm-compressor writes it, one scheme for all projections:
 *
 * - 8-bit integers: `weight` i8 [N, K], `weight_scale` [N, 1] or [1];
 * - 4-bit integers: `weight_packed` i32 [N, K / 8], eight columns to a word, codes counted from −8, `weight_scale`
 *   [N, K / group], and where they are asymmetric `weight_zero_point` i32 [N / 8, K / group], eight features to a word;
 * - 8-bit floats: `weight` e4m3 [N, K], `weight_scale` [N, 1] or [1].
 */
export function recognizeCompressedTensors(files: ForeignFiles): ForeignWeights | undefined {
  if (files.declared?.quant_method !== scheme) return undefined
  const { folder, tensors, paths } = files
  const refuse = (fault: string): never => {
    throw new CheckpointError(
      `${folder} is a checkpoint of ${scheme} ${fault}; quantize the original model instead`,
    )
  }
  const parsed = declaredAs.safeParse(files.declared)
  if (!parsed.success) return refuse(`that says of itself ${parsed.error.issues[0]!.message}`)
  const groups = Object.values(parsed.data.config_groups)
  if (groups.length !== 1) return refuse(`with ${groups.length} schemes, and one for all is read`)
  const { weights, input_activations: inputs } = groups[0]!
  const own = (name: string): boolean => {
    const path = ownedPath(name, suffixes)
    return path !== undefined && paths.includes(path)
  }
  const staticInputs = inputs && inputs.dynamic === false
  const notes = staticInputs
    ? ['its activations have scales of their own, which are left aside: tokens are scaled one by one']
    : []
  const base = { scheme, kvBits: 16, notes, owns: own } as const

  if (weights.type === 'float') {
    if (weights.num_bits !== 8 || weights.strategy === 'group' || weights.strategy === 'block')
      return refuse(`with ${weights.num_bits}-bit floats by ${weights.strategy}`)
    return {
      ...base,
      format: undefined,
      notes: ['its 8-bit floats are widened to 16 bits: models run with integers or 16-bit floats'],
      codes: () => refuse('with 8-bit floats'),
      floats(path, n, k) {
        const { bytes } = readShaped(files, `${path}.weight`, ['e4m3'], [n, k])
        const scales = rowScales(files, path, n)
        return Float32Array.from(bytes, (byte, i) => e4m3Value(byte) * scales[Math.floor(i / k)]!)
      },
    }
  }
  if (weights.num_bits === 8) {
    if (!weights.symmetric || weights.strategy === 'group')
      return refuse('with 8-bit integers that are no scaled rows')
    const codes = (path: string, n: number, k: number): QuantizedMatrix => {
      const { bytes } = readShaped(files, `${path}.weight`, ['i8'], [n, k])
      const scales = {
        name: `${path}.weight_scale`,
        dtype: 'f32',
        shape: [n],
        bytes: bytesOf(rowScales(files, path, n)),
      } as const
      return {
        rows: n,
        columns: k,
        codes: new Int8Array(new Uint8Array(bytes).buffer),
        scale: halfScales(folder, scales),
      }
    }
    return {
      ...base,
      // Beside 16-bit activations no kernel takes them as codes.
      format: inputs ? { bits: 8, group: 0, activations: 8 } : undefined,
      kvBits: 8,
      codes,
      floats(path, n, k) {
        const { codes: found } = codes(path, n, k)
        const scales = rowScales(files, path, n)
        return Float32Array.from(found, (code, i) => code * scales[Math.floor(i / k)]!)
      },
    }
  }
  if (weights.num_bits !== 4 || inputs)
    return refuse(`with weights of ${weights.num_bits} bits${inputs ? ' and quantized activations' : ''}`)
  if (paths.some((path) => tensors.has(`${path}.weight_g_idx`)))
    return refuse('whose groups are not runs of columns')
  const sizeOf = (k: number): number => (weights.strategy === 'group' ? weights.group_size! : k)
  const codes = (path: string, n: number, k: number): QuantizedMatrix => {
    const size = sizeOf(k)
    const group = kernelGroup(size)
    if (group === undefined) return refuse(`with groups of ${size} columns`)
    const count = k / size
    const scales = halfScales(
      folder,
      readShaped(files, `${path}.weight_scale`, ['f16', 'bf16', 'f32'], [n, count]),
    )
    const zero = new Uint8Array(n * count).fill(8)
    if (!weights.symmetric) {
      const words = wordsOf(readShaped(files, `${path}.weight_zero_point`, ['i32'], [n / 8, count]))
      for (let i = 0; i < zero.length; i++) {
        const [feature, g] = [Math.floor(i / count), i % count]
        zero[i] = (words[(feature >> 3) * count + g]! >>> (4 * (feature % 8))) & 15
      }
    }
    const words = wordsOf(readShaped(files, `${path}.weight_packed`, ['i32'], [n, k / 8]))
    return {
      rows: n,
      columns: k,
      codes: Uint8Array.from({ length: n * k }, (_, i) => (words[i >> 3]! >>> (4 * (i % 8))) & 15),
      scale: spreadGroups(scales, size / group),
      zero: spreadGroups(zero, size / group),
    }
  }
  const group = kernelGroup(sizeOf(128 * 128))
  if (group === undefined) return refuse(`with groups of ${weights.group_size} columns`)
  return {
    ...base,
    format: { bits: 4, group, activations: 16 },
    codes,
    floats: (path, n, k) => groupedFloats(codes(path, n, k), (column) => Math.floor(column / group)),
  }
}

/** The scale of each of `n` rows, from one for each or one for all. */
function rowScales(files: ForeignFiles, path: string, n: number): Float32Array {
  const name = `${path}.weight_scale`
  const { shape } = files.tensors.info(name)
  const count = elementCount(shape)
  const values = widen(readShaped(files, name, ['f32', 'f16', 'bf16'], count === 1 ? shape : [n, 1]))
  return count === 1 ? new Float32Array(n).fill(values[0]!) : values
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)
