import {
  columnMultiple,
  groupOffset,
  groupOfLoad,
  loadGroups,
  loadOffset,
  type OperandType,
  packedShape,
  type WeightFormat,
  type WeightParts,
  type ZeroHandling,
} from '../../../dsl/format.ts'
import {
  blockIdx,
  each,
  type In,
  kernel,
  loadWords,
  type Out,
  range,
  threadIdx,
  type u8,
  u32,
  unroll,
} from '../../../dsl/index.ts'
import { type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { zeroWord } from '../../../kernels/formats/w4a8.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { assertSame, type KernelCase } from '../../support/run-kernel.ts'

interface DequantizeConfig {
  readonly format: WeightFormatName
  readonly zero: ZeroHandling
  readonly x: OperandType
  readonly Words: number
}

/** Writes the MMA operand that a format makes of its packed codes back to row-major order, a warpgroup a strip. */
export const dequantize = kernel(
  import.meta.url,
  { grid: (dims) => [dims.Strips!], block: [128] },
  function dequantize(
    a: { w: In<u32, 'Strips Units Words'>; zero: In<u8, 'Rows'>; out: Out<u32, 'Rows RowWords'> },
    c: DequantizeConfig,
  ) {
    const format: WeightFormat = weightFormats[c.format]
    const [warp, group, part] = [threadIdx.x >>> 5, (threadIdx.x >>> 2) & 7, threadIdx.x & 3]
    const row = blockIdx.x * 64 + warp * 16 + group
    const zero = zeroWord(u32(a.zero.at(row)), u32(a.zero.at(row + 8)))
    for (const unit of range(a.w.dim('Units'))) {
      for (const load of unroll(format.loads)) {
        const words = loadWords(a.w, [blockIdx.x, unit, loadOffset(load, threadIdx.x)], 4)
        const parameters = each(loadGroups(format), (i) => {
          const at = groupOffset(format, groupOfLoad(format, load) + i, warp * 8 + group)
          return loadWords(a.w, [blockIdx.x, unit, at], format.groupWords)
        }).flat()
        const steps = format.fragments(words, format.group > 0 ? parameters : [zero], c.zero, c.x)
        steps.forEach((registers, step) => {
          const first = (unit * format.steps + load * (format.steps / format.loads) + step) * 8
          registers.forEach((word, register) => {
            a.out.put(word, row + 8 * (register % 2), first + 4 * Math.floor(register / 2) + part)
          })
        })
      }
    }
  },
)

const list = <T>(n: number, f: () => T): T[] => Array.from({ length: n }, f)

/** Random weights of a format, with groups at the bounds of what it holds. */
export function randomWeights(format: WeightFormat, N: number, K: number, random: Rng): WeightParts {
  const groups = format.group > 0 ? (N * K) / format.group : 0
  const codes4 = () => Uint8Array.from(list(N * K, () => random.integer(0, 15)))
  switch (format.tag) {
    case 'fp8':
      return { codes: Uint8Array.from(list(N * K, () => random.integer(0, 255))) }
    case 'w4a8-fp8':
    case 'w4a8':
      return { codes: codes4() }
    case 'w4a8-group': {
      const groupScale = Uint8Array.from(list(groups, () => random.integer(1, 16)))
      const groupMin = Int8Array.from(groupScale, (s) => random.integer(-128, 127 - 15 * s))
      return { codes: codes4(), groupScale, groupMin } as WeightParts
    }
    case 'w4a16-group': {
      // Scales from 2⁻¹⁴ to 1: products with codes stay normal f16.
      const scale = Uint16Array.from(list(groups, () => random.integer(0x0400, 0x3c00)))
      const zero = Uint8Array.from(scale, () => random.integer(0, 16))
      return { codes: codes4(), scale, zero } as WeightParts
    }
    case 'w8a8':
      return { codes: Int8Array.from(list(N * K, () => random.integer(-128, 127))) }
    default:
      return { codes: Uint16Array.from(list(N * K, () => random.integer(0, 65535))) }
  }
}

/** Every code of a matrix through packer and device: the operand must be what the format says of the code. */
export function dequantizeCase(
  name: WeightFormatName,
  zero: ZeroHandling,
  x: OperandType,
  seed: number,
): KernelCase {
  const format: WeightFormat = weightFormats[name]
  const N = 70
  const K = 256 + columnMultiple(format)
  const random = rng(seed)
  const [strips, units, Words] = packedShape(format, N, K)
  const [rows, columns] = [strips * 64, units * 128]
  const zeros = Uint8Array.from(list(rows, () => random.integer(0, 15)))
  const weights = randomWeights(format, N, K, random)
  return {
    name: `${name} beside ${x} with zero in the ${zero}`,
    kernel: dequantize,
    config: { format: name, zero, x, Words },
    args: {
      w: { dtype: 'u32', shape: [strips, units, Words], data: format.pack(weights, N, K) },
      zero: { dtype: 'u8', shape: [rows], data: zeros },
      out: { dtype: 'u32', shape: [rows, units * format.steps * 8] },
    },
    check({ out }) {
      const wide = format.steps === 8
      const all = wide ? new Uint16Array(out!.buffer) : new Uint8Array(out!.buffer)
      const actual: number[] = []
      const expected: number[] = []
      const parts = format.group > 0 ? weights : { ...weights, zero: zeros }
      for (let n = 0; n < N; n++) {
        for (let k = 0; k < K; k++) {
          actual.push(all[n * columns + k]!)
          expected.push(format.operand(parts, { n, k, K }, zero, x) & (wide ? 0xffff : 0xff))
        }
      }
      assertSame(actual, expected, K)
    },
  }
}
