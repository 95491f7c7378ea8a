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

/** Where the eight features of a word lie: nibble i holds feature `order[i]`. Source: AutoAWQ's GEMM layout. */
const order = [0, 2, 4, 6, 1, 3, 5, 7] as const

const declaredAs = z.object({
  quant_method: z.literal('awq'),
  bits: z.number().optional(),
  w_bit: z.number().optional(),
  group_size: z.number().optional(),
  q_group_size: z.number().optional(),
  version: z.string().optional(),
})

const suffixes = ['qweight', 'qzeros', 'scales']

/**
 * AutoAWQ, version GEMM: per projection `qweight` i32 [K, N / 8] and `qzeros` i32 [K / group, N / 8], eight features to a
 * word, and `scales` [K / group, N]; w = s · (q − z).
 */
export function recognizeAwq(files: ForeignFiles): ForeignWeights | undefined {
  const { folder, tensors, paths } = files
  const first = paths[0]!
  if (!['qweight', 'qzeros', 'scales'].every((suffix) => tensors.has(`${first}.${suffix}`))) return undefined
  const [rows, words] = tensors.info(`${first}.qweight`).shape
  const [groups, zeroWords] = tensors.info(`${first}.qzeros`).shape
  const [scaleGroups] = tensors.info(`${first}.scales`).shape
  // GPTQ has tensors of the same names, and a word for each feature.
  if (words !== zeroWords) return undefined
  const declared = declaredAs.safeParse(files.declared)
  const bits = declared.data?.bits ?? declared.data?.w_bit ?? 4
  const version = declared.data?.version?.toLowerCase() ?? 'gemm'
  if (bits !== 4 || version !== 'gemm' || groups !== scaleGroups)
    throw new CheckpointError(
      `${folder} is an AWQ checkpoint of ${bits} bits, version ${version}; 4 bits in version gemm are read`,
    )
  const size = rows! / groups!
  const group = kernelGroup(size)
  if (group === undefined)
    throw new CheckpointError(
      `${folder} is an AWQ checkpoint with groups of ${size} columns; groups of 32, 64 and multiples of 128 are read`,
    )

  const codes = (path: string, n: number, k: number): QuantizedMatrix => {
    const read = (name: string, dtypes: readonly string[], shape: readonly number[]) =>
      readShaped(files, `${path}.${name}`, dtypes, shape)
    const count = k / size
    const unpack = (name: string, length: number): Uint8Array =>
      transposed(unpackFeatures(wordsOf(read(name, ['i32'], [length, n / 8]))), length, n)
    const scale = transposed(halfScales(folder, read('scales', ['f16', 'bf16', 'f32'], [count, n])), count, n)
    return {
      rows: n,
      columns: k,
      codes: unpack('qweight', k),
      scale: spreadGroups(scale, size / group),
      zero: spreadGroups(unpack('qzeros', count), size / group),
    }
  }
  return {
    scheme: 'AWQ',
    format: { bits: 4, group, activations: 16 },
    kvBits: 16,
    notes: [],
    owns: (name) => ownedPath(name, suffixes) !== undefined,
    codes,
    floats: (path, n, k) => groupedFloats(codes(path, n, k), (column) => Math.floor(column / group)),
  }
}

/** Eight codes of a word each, in the order of features. */
function unpackFeatures(words: Int32Array): Uint8Array {
  const codes = new Uint8Array(words.length * 8)
  for (let i = 0; i < words.length; i++)
    for (let nibble = 0; nibble < 8; nibble++)
      codes[i * 8 + order[nibble]!] = (words[i]! >>> (4 * nibble)) & 15
  return codes
}
