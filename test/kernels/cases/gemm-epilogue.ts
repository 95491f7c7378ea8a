import { halves } from '../../../dsl/half.ts'
import { type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { codesOf, siluMulColumns } from '../../../kernels/gemm/epilogue-reference.ts'
import { gemmFp8Reference, gemmFp8SiluMul } from '../../../kernels/gemm/fp8.ts'
import { operands, scaledValues } from '../../../kernels/gemm/reference.ts'
import { gemmW4A8GroupSiluMul, gemmW4A8SiluMul } from '../../../kernels/gemm/w4a8.ts'
import { gemmW4A16SiluMul } from '../../../kernels/gemm/w4a16.ts'
import { gemmW8A8SiluMul } from '../../../kernels/gemm/w8a8.ts'
import { gemm16Reference, gemm16SiluMul } from '../../../kernels/gemm/w16.ts'
import { halfValue } from '../../support/halfs.ts'
import { rng } from '../../support/rng.ts'
import { assertSame, type HostTensor, type KernelCase, unwritten } from '../../support/run-kernel.ts'
import { type GemmOptions, gemm16Case } from './gemm.ts'
import { fp8Case } from './gemm-fp8.ts'

/** How a case of a plain product ends instead. */
export interface Ending {
  readonly activation?: 'silu-mul'
  readonly out?: 'f16' | 'bf16' | 'f32' | 'i8'
}

const activated: Readonly<Record<string, KernelCase['kernel']>> = {
  gemmW4A8: gemmW4A8SiluMul,
  gemmW4A8Group: gemmW4A8GroupSiluMul,
  gemmW8A8: gemmW8A8SiluMul,
  gemm16: gemm16SiluMul,
  gemmW4A16: gemmW4A16SiluMul,
  gemmFp8: gemmFp8SiluMul,
}

/** The kernel, constants and arguments of a case with another ending, but for the scales of codes. */
function ended(c: KernelCase, { activation, out }: Ending) {
  const args = c.args as Readonly<Record<string, HostTensor>>
  const [M, N] = args.out!.shape as [number, number]
  const columns = activation ? N / 2 : N
  const config = c.config as { readonly path: string; readonly dtype: 'f16' | 'bf16' }
  const type = out ?? config.dtype
  return {
    name: `${activation ?? 'plain'} to ${type}, ${c.name}`,
    kernel: activation ? activated[c.kernel.name]! : c.kernel,
    config: { ...config, ...(activation && config.path === 'mma' && { I: columns }), out: type },
    args: { ...args, out: unwritten(type, [M, columns]) } as Readonly<Record<string, HostTensor>>,
    columns,
    type,
  }
}

/** A case of integer weights with another ending, bit for bit. */
export function integerEnding(c: KernelCase, format: WeightFormatName, ending: Ending): KernelCase {
  const { columns, type, args, config, ...rest } = ended(c, ending)
  const data = <T>(name: string): T => args[name]?.data as T
  const [M, K] = args.x!.shape as [number, number]
  const N = args.scale!.shape[0]!
  const f = weightFormats[format]
  const parts = { ...f.unpack(data('w'), N, K), zero: data<Uint8Array>('zero') }
  /** What the first `rows` rows of W give. */
  const features = (rows: number): Float32Array => {
    const weights = operands(f as never, parts as never, { N: rows, K }, 'register')
    const values = scaledValues(weights, {
      M,
      N: rows,
      K,
      dtype: config.dtype,
      x: data('x'),
      xScale: data('xScale'),
      scale: data('scale'),
      bias: data('bias'),
    })
    return ending.activation ? siluMulColumns(values, rows / 2) : values
  }
  const random = rng(M + N + K)
  const sample = features(16)
  const sampled = sample.length / M
  // Some rows saturate, as those of scales that were measured beforehand do.
  const outScale = Float32Array.from({ length: M }, (_, m) => {
    const row = sample.subarray(m * sampled, (m + 1) * sampled)
    return (row.reduce((most, y) => Math.max(most, Math.abs(y)), 0) / 127) * (0.5 + 2 * random.uniform())
  })
  const isCode = type === 'i8'
  return {
    ...rest,
    config: { ...config, ...(isCode && { outScale: true }) },
    args: { ...args, ...(isCode && { outScale: { dtype: 'f32', shape: [M], data: outScale } }) },
    check({ out }) {
      const values = features(N)
      const expected = isCode
        ? codesOf(values, columns, outScale)
        : type === 'f32'
          ? values
          : Uint16Array.from(values, halves[type].bits)
      assertSame(out!, expected, columns)
    },
  }
}

/** SiLU behind 16-bit weights and behind 8-bit floats, against float64. */
export function gemm16SiluCase(o: GemmOptions): KernelCase {
  const c = gemm16Case(o)
  const { w, x, bias } = c.args as Readonly<Record<string, HostTensor>>
  const { N, K, dtype = 'f16' } = o
  const { codes } = weightFormats.w16.unpack(w!.data as Uint32Array, N, K)
  const product = { ...o, dtype, w: codes as Uint16Array, x: x!.data as Uint16Array }
  const sums = () =>
    gemm16Reference({
      ...product,
      bias: bias?.data as Uint16Array | undefined,
      residual: undefined,
    })
  return siluEnding(c, sums, (K + 2) * 2 ** -22)
}

export function fp8SiluCase(o: GemmOptions): KernelCase {
  const c = fp8Case('fp8', o)
  const args = c.args as Readonly<Record<string, HostTensor>>
  const { N, K, dtype = 'f16' } = o
  const data = <T>(name: string): T => args[name]?.data as T
  const { codes } = weightFormats.fp8.unpack(data('w'), N, K)
  const sums = () =>
    gemmFp8Reference(
      weightFormats.fp8,
      { codes: codes as Uint8Array },
      {
        ...o,
        dtype,
        x: data('x'),
        xScale: data('xScale'),
        scale: data('scale'),
        bias: data('bias'),
        residual: undefined,
      },
    )
  return siluEnding(c, sums, (K / 32 + 1) * 2 ** -13)
}

/** A case of floating-point weights behind SiLU: `sums` are those of the rows of W, which err by at most `error` of their magnitudes. */
function siluEnding(
  c: KernelCase,
  sums: () => { readonly value: Float64Array; readonly magnitude: Float64Array },
  error: number,
): KernelCase {
  const { columns, type, ...rest } = ended(c, { activation: 'silu-mul' })
  const silu = (x: number): number => x / (1 + Math.exp(-x))
  return {
    ...rest,
    check({ out }) {
      const product = sums()
      for (let at = 0; at < out!.length; at++) {
        const [m, i] = [Math.floor(at / columns), at % columns]
        const gate = m * 2 * columns + 16 * Math.floor(i / 8) + (i % 8)
        const [g, u] = [product.value[gate]!, product.value[gate + 8]!]
        const [dg, du] = [product.magnitude[gate]! * error, product.magnitude[gate + 8]! * error]
        const expected = silu(g) * u
        // The slope of SiLU is at most 1.1.
        const rounding = Math.abs(expected) * (2 ** (type === 'bf16' ? -8 : -11) * 1.01 + 2 ** -20)
        const bound = 1.1 * dg * (Math.abs(u) + du) + Math.abs(silu(g)) * du + rounding + 2 ** -24
        const actual = halfValue[type as 'f16' | 'bf16'](out![at]!)
        if (!(Math.abs(actual - expected) <= bound))
          throw new Error(`out[${m}, ${i}] is ${actual}, expected ${expected} within ${bound}`)
      }
    },
  }
}
