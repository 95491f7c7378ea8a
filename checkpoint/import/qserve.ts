import { f16Value } from '../../dsl/half.ts'
import { CheckpointError } from '../error.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'
import type { HostTensor } from '../tensor.ts'
import { type ForeignFiles, type ForeignWeights, halfScales, ownedPath, readShaped } from './foreign.ts'
import { twoLevelMatrix, wholeZeros } from './progressive.ts'

const suffixes = [
  'qweight',
  's1_scales',
  's1_szeros',
  's2_scales',
  's2_zeros',
  'weight',
  'dequant_scale',
  'kv_scale_quant_orig',
]

/** Columns that share a second-level scale. */
const groupColumns = 128

/**
 * QServe: per projection, in 4 bits, `qweight` i8 [N, K / 2] and `s1_scales` f16 [N], and beside them either `s1_szeros`
 * f16 [N] (one level: w = s1 · q − szero) or `s2_scales` and `s2_zeros` i8 [K / 128, N] (two levels: w = s1 · (q · s2 + s2_zero));
 * in 8 bits `weight` i8 [N, K] and `dequant_scale` [N]. Nothing in a checkpoint says which it is but its tensors.
 *
 * The orders of bytes are those of "QServe: W4A8KV4 Quantization and System Co-design" (arXiv 2405.04532), as its converter
 * writes them; a later converter writes the columns of `s2_scales` and `s2_zeros` in another order, and which of the two a
 * checkpoint has follows from its weights.
 */
export function recognizeQServe(files: ForeignFiles): ForeignWeights | undefined {
  const { folder, tensors, paths } = files
  const first = paths[0]!
  const has = (suffix: string): boolean => tensors.has(`${first}.${suffix}`)
  const read = (
    path: string,
    name: string,
    dtypes: readonly string[],
    shape: readonly number[],
  ): HostTensor => readShaped(files, `${path}.${name}`, dtypes, shape)
  const kvStatic = tensors.has(first.replace(/\.\w+$/, '.kv_scale_quant_orig'))
  const base = {
    owns: (name: string) => {
      const path = ownedPath(name, suffixes)
      return path !== undefined && (paths.includes(path) || name.endsWith('.kv_scale_quant_orig'))
    },
    notes: [
      'QServe runs such checkpoints with norms that subtract the mean; here they are the RMSNorm that the model has',
      ...(kvStatic
        ? ['its static scales of keys and values are left aside: tokens are scaled one by one']
        : []),
    ],
  }
  const floatsOf = (matrix: QuantizedMatrix, row: (n: number) => (k: number) => number) => {
    const { rows, columns } = matrix
    const values = new Float32Array(rows * columns)
    for (let n = 0; n < rows; n++) {
      const weight = row(n)
      for (let k = 0; k < columns; k++) values[n * columns + k] = weight(k)
    }
    return values
  }

  if (has('dequant_scale')) {
    const codes = (path: string, n: number, k: number): QuantizedMatrix => ({
      rows: n,
      columns: k,
      codes: new Int8Array(new Uint8Array(read(path, 'weight', ['i8'], [n, k]).bytes).buffer),
      scale: halfScales(folder, read(path, 'dequant_scale', ['f16', 'bf16', 'f32'], [n])),
    })
    return {
      ...base,
      scheme: 'QServe W8A8',
      format: { bits: 8, group: 0, activations: 8 },
      kvBits: 8,
      codes,
      floats(path, n, k) {
        const matrix = codes(path, n, k)
        return floatsOf(matrix, (row) => {
          const s = f16Value(matrix.scale[row]!)
          return (column) => s * matrix.codes[row * k + column]!
        })
      },
    }
  }
  if (!has('s1_scales')) return undefined

  const common = (path: string, n: number, k: number) => {
    if (n % 32 !== 0 || k % 32 !== 0)
      throw new CheckpointError(
        `${folder}: ${path} has ${n} rows of ${k} columns, and QServe packs 32 by 32; the weights and the configuration are ` +
          'not of the same model',
      )
    return {
      rows: n,
      columns: k,
      codes: unpackTiles(read(path, 'qweight', ['i8', 'u8'], [n, k / 2]).bytes, n, k),
      scale: halfScales(folder, read(path, 's1_scales', ['f16'], [n])),
    }
  }
  if (has('s2_scales')) {
    let order: GroupOrder | undefined
    const codes = (path: string, n: number, k: number): QuantizedMatrix => {
      const { codes: found, scale } = common(path, n, k)
      const stored = (name: string) => read(path, name, ['i8', 'u8'], [k / groupColumns, n]).bytes
      const [scales, zeros] = [stored('s2_scales'), stored('s2_zeros')]
      order ??= groupOrder(found, scales, zeros, n, k)
      const groupScale = unpackGroups(scales, n, k, order)
      const groupMin = new Int8Array(unpackGroups(zeros, n, k, order).buffer)
      return twoLevelMatrix(`${folder}: ${path}`, {
        rows: n,
        columns: k,
        codes: found,
        scale,
        groupScale,
        groupMin,
      })
    }
    return {
      ...base,
      scheme: 'QServe W4A8 g128',
      format: { bits: 4, group: groupColumns, activations: 8 },
      kvBits: 4,
      codes,
      floats(path, n, k) {
        const matrix = codes(path, n, k)
        return floatsOf(matrix, (row) => {
          const s = f16Value(matrix.scale[row]!)
          return (column) => {
            const group = row * (k / groupColumns) + Math.floor(column / groupColumns)
            return (
              s * (matrix.codes[row * k + column]! * matrix.groupScale![group]! + matrix.groupMin![group]!)
            )
          }
        })
      },
    }
  }
  const zerosOf = (path: string, n: number): Uint16Array =>
    halfScales(folder, read(path, 's1_szeros', ['f16'], [n]))
  const whole = (path: string): Uint8Array | undefined => {
    const [n] = tensors.info(`${path}.s1_scales`).shape as [number]
    return wholeZeros(halfScales(folder, read(path, 's1_scales', ['f16'], [n])), zerosOf(path, n))
  }
  const isWhole = paths.every((path) => whole(path) !== undefined)
  return {
    ...base,
    scheme: 'QServe W4A8',
    format: isWhole ? { bits: 4, group: 0, activations: 8 } : undefined,
    kvBits: 4,
    notes: isWhole
      ? base.notes
      : [...base.notes, 'its zero points are no whole codes; the weights are held as 16-bit floats'],
    codes: (path, n, k) => ({ ...common(path, n, k), zero: whole(path)! }),
    floats(path, n, k) {
      const matrix = common(path, n, k)
      const [zeros, codes] = [zerosOf(path, n), isWhole ? whole(path) : undefined]
      return floatsOf(matrix, (row) => {
        const s = f16Value(matrix.scale[row]!)
        // Where zero points are codes, the stored products are roundings of what is meant.
        const zero = codes ? codes[row]! * s : f16Value(zeros[row]!)
        return (column) => s * matrix.codes[row * k + column]! - zero
      })
    },
  }
}

/**
 * Codes [N, K] from tiles of 32 by 32, 512 bytes each, one after the other along K. In a tile the byte of rows (b, c) and
 * columns (d, e, f), with row = 16a + 8b + c and column = 16d + 4e + f, is 16 (4c + e) + 8d + 4b + f; row a = 0 has its low
 * four bits, row a = 1 its high ones.
 */
export function unpackTiles(bytes: Uint8Array, n: number, k: number): Uint8Array {
  const codes = new Uint8Array(n * k)
  for (let row = 0; row < n; row++)
    for (let column = 0; column < k; column++)
      codes[row * k + column] = (bytes[tileByte(row, column, k)]! >>> (row & 16 ? 4 : 0)) & 15
  return codes
}

/** Where the code of an element lies among the bytes of `qweight`. */
export function tileByte(row: number, column: number, k: number): number {
  const tile = (row >> 5) * (k >> 5) + (column >> 5)
  const [b, c] = [(row >> 3) & 1, row & 7]
  const [d, e, f] = [(column >> 4) & 1, (column >> 2) & 3, column & 3]
  return tile * 512 + (c * 4 + e) * 16 + d * 8 + b * 4 + f
}

/** Where the parameters of row 16a + 8b + c of 32 rows lie. */
export type GroupOrder = (a: number, b: number, c: number) => number

/** As QServe's converter and its kernels have them, and as a later converter writes them. */
export const groupOrders: readonly [GroupOrder, GroupOrder] = [
  (a, b, c) => c * 4 + a * 2 + b,
  (a, b, c) => a * 16 + c * 2 + b,
]

/** [rows, K / 128] from [K / 128, rows in their order]. */
function unpackGroups(stored: Uint8Array, n: number, k: number, order: GroupOrder): Uint8Array {
  const groups = k / groupColumns
  return Uint8Array.from({ length: n * groups }, (_, i) => {
    const [row, g] = [Math.floor(i / groups), i % groups]
    return stored[g * n + (row & ~31) + order((row >> 4) & 1, (row >> 3) & 1, row & 7)]!
  })
}

/**
 * The order of a checkpoint: weights are spread around zero, so that the mean of a group's codes is near the code that
 * stands for zero where parameters and codes are of the same row.
 */
function groupOrder(
  codes: Uint8Array,
  scales: Uint8Array,
  zeros: Uint8Array,
  n: number,
  k: number,
): GroupOrder {
  const groups = k / groupColumns
  const means = Float64Array.from({ length: n * groups }, (_, i) => {
    const start = i * groupColumns
    let sum = 0
    for (let j = 0; j < groupColumns; j++) sum += codes[start + j]!
    return sum / groupColumns
  })
  const distances = groupOrders.map((order) => {
    const groupScale = unpackGroups(scales, n, k, order)
    const zero = unpackGroups(zeros, n, k, order)
    let sum = 0
    for (let i = 0; i < means.length; i++) sum += Math.abs(means[i]! - zeroCode(groupScale[i]!, zero[i]!))
    return sum
  })
  return groupOrders[distances[0]! <= distances[1]! ? 0 : 1]!
}

/** The code that stands for zero: −zero / scale, where zero is a byte that may have wrapped. */
function zeroCode(scale: number, zero: number): number {
  const code = ((256 - zero) & 255) / scale
  return code <= 15 ? code : -((zero << 24) >> 24) / scale
}
