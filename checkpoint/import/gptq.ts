import { z } from 'zod'
import { CheckpointError } from '../error.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'
import {
  type ForeignFiles,
  type ForeignWeights,
  halfScales,
  kernelGroup,
  ownedPath,
  readShaped,
  spreadGroups,
  transposed,
  wordsOf,
} from './foreign.ts'
import { groupedFloats } from './four-bit.ts'

const declaredAs = z.object({
  quant_method: z.literal('gptq'),
  bits: z.number(),
  group_size: z.number(),
  checkpoint_format: z.string().optional(),
})

const suffixes = ['qweight', 'qzeros', 'scales', 'g_idx']

/**
 * GPTQ as AutoGPTQ and its successors write it: per projection `qweight` i32 [K / 8, N], eight columns to a word, `qzeros`
 * i32 [groups, N / 8], eight features to a word, `scales` [groups, N], and `g_idx` i32 [K], the group of each column;
 * w = s · (q − z). Version 1 stores z − 1, version 2 (`checkpoint_format: gptq_v2`) stores z.
 *
 * Where `g_idx` is not in runs of whole groups (act-order), no kernel reads the codes, and the weights are taken as floats.
 */
export function recognizeGptq(files: ForeignFiles): ForeignWeights | undefined {
  const { folder, tensors, paths } = files
  const first = paths[0]!
  if (!tensors.has(`${first}.qweight`) || !tensors.has(`${first}.qzeros`)) return undefined
  const parsed = declaredAs.safeParse(files.declared)
  if (!parsed.success)
    throw new CheckpointError(
      `${folder} looks like a GPTQ checkpoint, and its config.json has no quantization_config with quant_method gptq, bits ` +
        'and group_size; take config.json from where the weights come from',
    )
  const { bits, group_size: declaredSize, checkpoint_format: version = 'gptq' } = parsed.data
  if (bits !== 4 || (version !== 'gptq' && version !== 'gptq_v2'))
    throw new CheckpointError(
      `${folder} is a GPTQ checkpoint of ${bits} bits in the layout ${version}; 4 bits in gptq and gptq_v2 are read`,
    )
  const firstZero = version === 'gptq' ? 1 : 0
  const groupSize = (k: number): number => (declaredSize > 0 ? declaredSize : k)
  const columns = (path: string): number => tensors.info(`${path}.qweight`).shape[0]! * 8
  const groupOf = (path: string, k: number): ((column: number) => number) => {
    if (!tensors.has(`${path}.g_idx`)) return (column) => Math.floor(column / groupSize(k))
    const groups = wordsOf(readShaped(files, `${path}.g_idx`, ['i32'], [k]))
    const count = Math.ceil(k / groupSize(k))
    const bad = groups.find((group) => group < 0 || group >= count)
    if (bad !== undefined)
      throw new CheckpointError(
        `${folder}: tensor ${path}.g_idx names group ${bad} of ${count}; download it again`,
      )
    return (column) => groups[column]!
  }
  const isInOrder = paths.every((path) => {
    const k = columns(path)
    const size = groupSize(k)
    const [groups] = tensors.info(`${path}.scales`).shape
    if (groups !== Math.ceil(k / size))
      throw new CheckpointError(
        `${folder}: tensor ${path}.scales has ${groups} groups, and config.json says groups of ${size} of ${k} columns; ` +
          'take config.json from where the weights come from',
      )
    const of = groupOf(path, k)
    return Array.from({ length: k }, (_, column) => column).every(
      (column) => of(column) === Math.floor(column / size),
    )
  })
  // One row of a group per channel is a group of every multiple of 128.
  const group = isInOrder ? kernelGroup(groupSize(columns(first))) : undefined
  const fits = group !== undefined && paths.every((path) => kernelGroup(groupSize(columns(path))) === group)

  const matrix = (path: string, n: number, k: number): QuantizedMatrix => {
    const read = (name: string, dtypes: readonly string[], shape: readonly number[]) =>
      readShaped(files, `${path}.${name}`, dtypes, shape)
    const count = Math.ceil(k / groupSize(k))
    const words = wordsOf(read('qweight', ['i32'], [k / 8, n]))
    const codes = new Uint8Array(n * k)
    for (let i = 0; i < words.length; i++) {
      const [row, feature] = [Math.floor(i / n), i % n]
      for (let j = 0; j < 8; j++) codes[feature * k + row * 8 + j] = (words[i]! >>> (4 * j)) & 15
    }
    const zeros = wordsOf(read('qzeros', ['i32'], [count, n / 8]))
    const zero = Uint8Array.from({ length: count * n }, (_, i) => {
      const [g, feature] = [i % count, Math.floor(i / count)]
      return ((zeros[g * (n / 8) + (feature >> 3)]! >>> (4 * (feature % 8))) & 15) + firstZero
    })
    const scale = halfScales(folder, read('scales', ['f16', 'bf16', 'f32'], [count, n]))
    return { rows: n, columns: k, codes, scale: transposed(scale, count, n), zero }
  }
  return {
    scheme: 'GPTQ',
    format: fits ? { bits: 4, group, activations: 16 } : undefined,
    kvBits: 16,
    notes: fits
      ? []
      : [
          `its groups ${isInOrder ? `of ${declaredSize} columns` : 'are not runs of columns (act-order)'}, which no kernel reads ` +
            'as codes; the weights are held as 16-bit floats',
        ],
    owns: (name) => ownedPath(name, suffixes) !== undefined,
    codes(path, n, k) {
      const found = matrix(path, n, k)
      const times = groupSize(k) / group!
      return { ...found, scale: spreadGroups(found.scale, times), zero: spreadGroups(found.zero!, times) }
    },
    floats: (path, n, k) => groupedFloats(matrix(path, n, k), groupOf(path, k)),
  }
}
