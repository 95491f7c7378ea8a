import { type Codes, columnMultiple, type ZeroHandling } from '../../../dsl/format.ts'
import {
  blockIdx,
  each,
  type In,
  kernel,
  laneIdx,
  loadWords,
  type Out,
  range,
  type u8,
  u32,
} from '../../../dsl/index.ts'
import { replicateByte } from '../../../dsl/std/index.ts'
import { packedShape, type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { rng } from '../../support/rng.ts'
import { assertSame, type KernelCase } from '../../support/run-kernel.ts'

interface DequantizeConfig {
  readonly format: WeightFormatName
  readonly zero: ZeroHandling
  readonly UnitWords: number
}

/** Writes the MMA operand that a format makes of its packed codes back to row-major order, one warp a strip. */
export const dequantize = kernel(
  import.meta.url,
  { grid: (dims) => [dims.NTiles!], block: [32] },
  function dequantize(
    a: {
      w: In<u32, 'NTiles KUnits UnitWords'>
      scale: In<u8, 'N'>
      offset: In<u8, 'N'>
      out: Out<u32, 'N RowWords'>
    },
    c: DequantizeConfig,
  ) {
    const format = weightFormats[c.format]
    const [group, part] = [laneIdx >>> 2, laneIdx & 3]
    const row = blockIdx.x * 16 + group
    const rows = [0, 8].map((half) => ({
      scale: u32(a.scale.at(row + half)),
      offset: replicateByte(u32(a.offset.at(row + half))),
    }))
    for (const unit of range(a.w.dim('KUnits'))) {
      const words = each(format.loads, (i) =>
        loadWords(a.w, [blockIdx.x, unit, 128 * i + 4 * laneIdx], 4),
      ).flat()
      format.fragments(words, rows, c.zero).forEach((fragment, step) => {
        fragment.forEach((word, register) => {
          const column = unit * 16 + step * 8 + 4 * Math.floor(register / 2) + part
          a.out.put(word, row + 8 * (register % 2), column)
        })
      })
    }
  },
)

export function randomCodes(bits: number, count: number, seed: number): Codes {
  const random = rng(seed)
  if (bits === 4) return Uint8Array.from({ length: count }, () => random.integer(0, 15))
  if (bits === 8) return Int8Array.from({ length: count }, () => random.integer(-128, 127))
  return Uint16Array.from({ length: count }, () => random.integer(0, 65535))
}

/** Every code of a matrix through packer and device: the operand must be what the format says of the code. */
export function dequantizeCase(name: WeightFormatName, zero: ZeroHandling, seed: number): KernelCase {
  const format = weightFormats[name]
  const N = 32
  const K = 2 * columnMultiple(format)
  const random = rng(seed)
  const codes = randomCodes(format.bits, N * K, seed)
  const scale = Uint8Array.from({ length: N }, () => random.integer(1, 16))
  // A per-channel zero point is a code; the largest sum of a group without carries is 15 · 16 + 15.
  const offset = Uint8Array.from({ length: N }, () => random.integer(0, 15))
  const shape = packedShape(format, N, K)
  const words = (K * (64 / format.columns)) / 4
  return {
    name: `${name} with zero in the ${zero}`,
    kernel: dequantize,
    config: { format: name, zero, UnitWords: shape[2] },
    args: {
      w: { dtype: 'u32', shape, data: format.pack(codes, N, K) },
      scale: { dtype: 'u8', shape: [N], data: scale },
      offset: { dtype: 'u8', shape: [N], data: offset },
      out: { dtype: 'u32', shape: [N, words] },
    },
    check({ out }) {
      const wide = format.columns === 32
      const actual = wide ? new Uint16Array(out!.buffer) : new Uint8Array(out!.buffer)
      const expected = Array.from(codes, (code, i) => {
        const row = { scale: scale[Math.floor(i / K)]!, offset: offset[Math.floor(i / K)]! }
        return format.operand(code, row, zero) & (wide ? 0xffff : 0xff)
      })
      assertSame(actual, expected, K)
    },
  }
}
