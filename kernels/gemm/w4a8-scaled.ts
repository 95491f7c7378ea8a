import { f16Value, halves } from '../../dsl/half.ts'
import {
  type Elem,
  type f16,
  f32,
  type In,
  type i8,
  kernel,
  load,
  type Out,
  type u32,
} from '../../dsl/index.ts'
import { loadFloatPair } from '../../dsl/std/index.ts'
import { w4a8 } from '../formats/w4a8.ts'
import { featureRow, type GemmConfig, gemm } from './mma.ts'
import { gemmOptions } from './options.ts'
import type { ScaledProduct } from './reference.ts'
import { gemmWgmma } from './wgmma.ts'
import type { WgmmaConfig } from './wgmma-product.ts'

/**
 * Per-channel W4A8 with the numbers of QServe's checkpoints:
 *
 *   out[m, n] = f32(Σₖ q·x) · scale[n] · xScale[m] − scaledZero[n] · inputSum[m]   (+ bias[n] + residual[m, n], in f32)
 *
 * `scaledZero` is the zero point times the scale, rounded to f16, and `inputSum` the sum of the activations *before* they
 * were quantized, as `quantizeRowsSumming` gives it. Checkpoints made with this correction want it; new ones are better
 * served by `gemmW4A8`, whose sums are those of the codes. Each operation of the formula is rounded.
 *
 * `residual` may be `out`. The result does not depend on the tile or on M.
 */
export const gemmW4A8Scaled = kernel(
  import.meta.url,
  gemmOptions,
  function gemmW4A8Scaled(
    a: {
      w: In<u32, 'Strips Units Words', 'w4a8'>
      scale: In<f16, 'N'>
      scaledZero: In<f16, 'N'>
      x: In<i8, 'M K'>
      xScale: In<f32, 'M'>
      inputSum: In<f32, 'M'>
      bias?: In<Elem<'dtype'>, 'N'>
      residual?: In<Elem<'dtype'>, 'M N'>
      out: Out<Elem<'dtype'>, 'M N'>
    },
    c: GemmConfig | WgmmaConfig,
  ) {
    const parts = {
      format: w4a8,
      zero: 'epilogue' as const,
      x: 'i8' as const,
      out: c.dtype,
      rowWords: () => [],
    }
    if (c.path === 'wgmma') {
      gemmWgmma(a, c, {
        ...parts,
        tokens: [a.xScale, a.inputSum],
        rows(n, count) {
          const zeros = load(a.scaledZero, [n], count)
          return load(a.scale, [n], count).map((scale, i) => () => [f32(scale), f32(zeros[i]!)] as const)
        },
        finish: (sum, [scale, zero]: readonly [f32, f32], [xScale, inputSum]) =>
          f32(sum) * scale * f32.bits(xScale!) - zero * f32.bits(inputSum!),
      })
      return
    }
    gemm(a, c, {
      ...parts,
      feature: (n) => [a.scale, a.scaledZero].map((row) => loadFloatPair(row, [], n, featureRow(c))),
      token: (m) => [a.xScale.at(m), a.inputSum.at(m)] as const,
      finish: (sums, [scale, zero], [xScale, inputSum]) => [
        f32(sums[0]) * scale![0] * xScale - zero![0] * inputSum,
        f32(sums[1]) * scale![1] * xScale - zero![1] * inputSum,
      ],
    })
  },
)

/** What `gemmW4A8Scaled` takes besides the codes: `scaledZero` [N] as f16 bits, `inputSum` [M]. */
export interface ZeroScaledProduct extends ScaledProduct {
  readonly scaledZero: Uint16Array
  readonly inputSum: Float32Array
}

/** `gemmW4A8Scaled` on the host, bit for bit: codes [N, K]. */
export function gemmW4A8ScaledReference(codes: Uint8Array, p: ZeroScaledProduct): Uint16Array {
  const { M, N, K } = p
  const { value, bits } = halves[p.dtype]
  const { fround } = Math
  const out = new Uint16Array(M * N)
  for (let n = 0; n < N; n++) {
    const [scale, zero] = [f16Value(p.scale[n]!), f16Value(p.scaledZero[n]!)]
    for (let m = 0; m < M; m++) {
      let sum = 0
      for (let k = 0; k < K; k++) sum += codes[n * K + k]! * p.x[m * K + k]!
      const product = fround(fround(fround(sum) * scale) * p.xScale[m]!)
      let y = fround(product - fround(zero * p.inputSum[m]!))
      if (p.bias) y = fround(y + value(p.bias[n]!))
      if (p.residual) y = fround(y + value(p.residual[m * N + n]!))
      out[m * N + n] = bits(y)
    }
  }
  return out
}
