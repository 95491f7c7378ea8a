import { e4m3Bits } from '../../../dsl/float8.ts'
import { f16Bits } from '../../../dsl/half.ts'
import { packedShape, weightFormats } from '../../../kernels/formats/index.ts'
import { gemmFp8, gemmFp8Reference, gemmW4A8Fp8 } from '../../../kernels/gemm/fp8.ts'
import type { WgmmaTiles } from '../../../kernels/gemm/wgmma-plan.ts'
import { rng } from '../../support/rng.ts'
import type { KernelCase } from '../../support/run-kernel.ts'
import { assertNear, common, type GemmOptions, once } from './gemm.ts'

const list = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i))

/** Tiles of `wgmma` for small shapes: a warpgroup of 64 rows. */
export const smallWgmmaTiles: WgmmaTiles = {
  path: 'wgmma',
  tokens: 16,
  rowGroups: 1,
  blocks: 1,
  kGroups: 1,
  split: 1,
  multicast: 1,
  units: 1,
  stages: 4,
  staging: 2,
  steps: 4,
  producers: 1,
  ctas: 2,
  ctasPerMultiprocessor: 1,
}

/**
 * A case of the kernels beside e4m3 activations, against float64. The tensor cores of Hopper keep about 13 bits of the
 * fraction of such sums: each k-step of 32 columns may err by 2⁻¹³ of the magnitudes.
 */
export function fp8Case(name: 'fp8' | 'w4a8-fp8', o: GemmOptions): KernelCase {
  const random = rng(o.seed)
  const { M, N, K } = o
  const { args, dtype, bias, residual } = common(name, o, random)
  const format = weightFormats[name]
  // Weights of ordinary sizes and subnormal ones; all 16 codes.
  const codes = Uint8Array.from(
    list(N * K, () => (format.bits === 4 ? random.integer(0, 15) : e4m3Bits(random.normal()))),
  )
  const x = Uint8Array.from(list(M * K, () => e4m3Bits(random.normal() * 2 ** random.integer(-8, 6))))
  const scale = Uint16Array.from(list(N, () => f16Bits(0.001 + 0.02 * random.uniform())))
  const xScale = Float32Array.from(list(M, () => 0.001 + 0.01 * random.uniform()))
  const tiles = { ...smallWgmmaTiles, ...(o.tiles as Partial<WgmmaTiles> | undefined) }
  const product = { M, N, K, dtype, x, xScale, scale, bias, residual }
  const expected = once(() => gemmFp8Reference(format, { codes }, product))
  return {
    name: `${name} M=${M} N=${N} K=${K} ${dtype} ${o.bias ? 'bias ' : ''}${o.residual ? 'residual' : ''}`,
    kernel: name === 'fp8' ? gemmFp8 : gemmW4A8Fp8,
    config: {
      ...tiles,
      dtype,
      bias: bias !== undefined,
      residual: residual !== undefined,
      ...(args.scratch && { scratch: true }),
    },
    args: {
      w: {
        dtype: 'u32',
        shape: packedShape(format, N, K),
        data: format.pack({ codes }, N, K),
        tag: format.tag,
      },
      scale: { dtype: 'f16', shape: [N], data: scale },
      x: { dtype: 'e4m3', shape: [M, K], data: x },
      xScale: { dtype: 'f32', shape: [M], data: xScale },
      ...args,
    },
    check: ({ out }) => assertNear(out!, expected(), dtype, o, (K / 32 + 1) * 2 ** -13),
  }
}
