import { embedTokens, embedTokensReference } from '../../../kernels/embed-tokens.ts'
import {
  LEAST_ROW,
  quantizeRows,
  quantizeRowsFp8,
  quantizeRowsFp8Reference,
  quantizeRowsReference,
  quantizeRowsSumming,
  quantizeRowsSummingReference,
} from '../../../kernels/quantize-rows.ts'
import { rmsNorm, rmsNormQuantize, rmsNormReference, rmsNormRows } from '../../../kernels/rms-norm.ts'
import { siluMul, siluMulQuantize, siluMulReference } from '../../../kernels/silu-mul.ts'
import {
  assertNear,
  type HalfType,
  halfRounding,
  halfValues,
  mixedKinds,
  randomHalfs,
  rowsOfKinds,
} from '../../support/halfs.ts'
import { rng } from '../../support/rng.ts'
import {
  assertSame,
  type HostArguments,
  type HostTensor,
  type KernelCase,
  type Outputs,
} from '../../support/run-kernel.ts'

/** Kernels that work on rows of activations. */
export interface RowOptions {
  readonly T: number
  /** Columns: the hidden size, or the intermediate one. */
  readonly H: number
  readonly dtype: HalfType
  readonly seed: number
}

const nameOf = (kernel: string, { T, H, dtype }: RowOptions, extra = ''): string =>
  `${kernel} T=${T} H=${H} ${dtype}${extra}`

const quantized = (T: number, H: number): HostArguments => ({
  q: { dtype: 'i8', shape: [T, H] },
  scale: { dtype: 'f32', shape: [T] },
  sum: { dtype: 'i32', shape: [T] },
})

/** Embedding moves bits. Ids outside the vocabulary, negative ones included, give zeros. */
export function embedTokensCase(o: RowOptions & { readonly V?: number }): KernelCase {
  const { T, H, dtype, V = 37 } = o
  const random = rng(o.seed)
  const strange = [V, -1, 2 ** 31 - 1, -(2 ** 31)]
  const ids = Int32Array.from({ length: T }, (_, t) =>
    t % 4 === 3 ? strange[(t >> 2) % 4]! : random.integer(0, V - 1),
  )
  const table = randomHalfs(random, V * H, dtype)
  return {
    name: nameOf('embedTokens', o),
    kernel: embedTokens,
    config: { dtype, V, H },
    args: {
      ids: { dtype: 'i32', shape: [T], data: ids },
      table: { dtype, shape: [V, H], data: table },
      out: { dtype, shape: [T, H] },
    },
    check({ out }) {
      assertSame(out!, embedTokensReference(ids, Float64Array.from(table), H), H)
    },
  }
}

/** Codes, scales and sums bit for bit: every step is an IEEE operation on f32. */
export function quantizeRowsCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const x = rowsOfKinds(rng(o.seed), mixedKinds(T), H, dtype)
  return {
    name: nameOf('quantizeRows', o),
    kernel: quantizeRows,
    config: { dtype, H },
    args: { x: { dtype, shape: [T, H], data: x }, ...quantized(T, H) },
    check({ q, scale, sum }) {
      const expected = quantizeRowsReference(halfValues(x, dtype), H)
      assertSame(scale!, expected.scale, 1, 'scale')
      assertSame(q!, expected.q, H, 'q')
      assertSame(sum!, expected.sum, 1, 'sum')
    },
  }
}

/** Codes and scales bit for bit; sums of H roundings of f32 and one of f16. */
export function quantizeRowsSummingCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const x = rowsOfKinds(rng(o.seed), mixedKinds(T), H, dtype)
  return {
    name: nameOf('quantizeRowsSumming', o),
    kernel: quantizeRowsSumming,
    config: { dtype, H },
    args: {
      x: { dtype, shape: [T, H], data: x },
      q: { dtype: 'i8', shape: [T, H] },
      scale: { dtype: 'f32', shape: [T] },
      inputSum: { dtype: 'f32', shape: [T] },
    },
    check({ q, scale, inputSum }) {
      const values = halfValues(x, dtype)
      const expected = quantizeRowsSummingReference(values, H)
      assertSame(scale!, expected.scale, 1, 'scale')
      assertSame(q!, expected.q, H, 'q')
      const sums = Float64Array.from(inputSum!)
      assertNear(
        sums,
        expected.inputSum,
        (row) => {
          const magnitudes = values.subarray(row * H, (row + 1) * H).reduce((sum, v) => sum + Math.abs(v), 0)
          return Math.abs(expected.inputSum[row]!) * 2 ** -11 + magnitudes * H * 2 ** -24 + 2 ** -24
        },
        1,
        'inputSum',
      )
    },
  }
}

export function quantizeRowsFp8Case(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const x = rowsOfKinds(rng(o.seed), mixedKinds(T), H, dtype)
  return {
    name: nameOf('quantizeRowsFp8', o),
    kernel: quantizeRowsFp8,
    config: { dtype, H },
    args: {
      x: { dtype, shape: [T, H], data: x },
      q: { dtype: 'e4m3', shape: [T, H] },
      scale: { dtype: 'f32', shape: [T] },
    },
    check({ q, scale }) {
      const expected = quantizeRowsFp8Reference(halfValues(x, dtype), H)
      assertSame(scale!, expected.scale, 1, 'scale')
      assertSame(q!, expected.q, H, 'q')
    },
  }
}

const eps = 1e-5

/**
 * Relative error of the f32 arithmetic before the output is rounded: sums of at most 2⁶ roundings in a chain (2⁻²⁴ each),
 * halved by the root, rsqrt.approx or ex2.approx (2⁻²²) and a few products.
 */
const F32_ERROR = 2 ** -18

const halfBound = (dtype: HalfType, expected: Float64Array, columns: number) => (actual: ArrayLike<number>) =>
  assertNear(
    halfValues(actual, dtype),
    expected,
    (i) => halfRounding(dtype, expected[i]!) + Math.abs(expected[i]!) * F32_ERROR * 2,
    columns,
  )

/** What quantization of values that are only near `expected` must hold: half a step each, and exact sums. */
function checkQuantized({ q, scale, sum }: Outputs, expected: Float64Array, H: number, error: number): void {
  const decoded = Float64Array.from(q!, (code, i) => code * scale![Math.floor(i / H)]!)
  const bound = (i: number) =>
    scale![Math.floor(i / H)]! * (0.5 + 2 ** -16) + error * Math.abs(expected[i]!) + 2 ** -149
  assertNear(decoded, expected, bound, H, 'q · scale')
  scale!.forEach((s, row) => {
    const codes = Array.from(q!.subarray(row * H, (row + 1) * H))
    assertSame([sum![row]!], [codes.reduce((a, b) => a + b, 0)], 1, `sum of row ${row}`)
    const values = expected.subarray(row * H, (row + 1) * H)
    const largest = values.reduce((m, value) => Math.max(m, Math.abs(value)), 0)
    const zero = largest < LEAST_ROW
    assertSame([Math.max(...codes.map(Math.abs))], [zero ? 0 : 127], 1, `largest code of row ${row}`)
    assertNear([s], [zero ? 1 : largest / 127], () => (largest / 127) * error + 2 ** -149, 1, 'scale')
  })
}

export function rmsNormCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const random = rng(o.seed)
  const x = rowsOfKinds(random, mixedKinds(T), H, dtype)
  const gamma = randomHalfs(random, H, dtype)
  const expected = rmsNormReference(halfValues(x, dtype), halfValues(gamma, dtype), eps)
  return {
    name: nameOf('rmsNorm', o),
    kernel: rmsNorm,
    config: { dtype, H },
    args: {
      x: { dtype, shape: [T, H], data: x },
      gamma: { dtype, shape: [H], data: gamma },
      eps,
      out: { dtype, shape: [T, H] },
    },
    check: ({ out }) => halfBound(dtype, expected, H)(out!),
  }
}

/** The rows asked for, out of order and one of them twice. */
export function rmsNormRowsCase(o: RowOptions & { readonly R: number }): KernelCase {
  const { T, H, dtype, R } = o
  const random = rng(o.seed)
  const x = rowsOfKinds(random, mixedKinds(T), H, dtype)
  const gamma = randomHalfs(random, H, dtype)
  const rows = Int32Array.from({ length: R }, (_, r) => (T - 1 - 2 * r + 4 * T) % T)
  const all = rmsNormReference(halfValues(x, dtype), halfValues(gamma, dtype), eps)
  const expected = Float64Array.from(
    { length: R * H },
    (_, i) => all[rows[Math.floor(i / H)]! * H + (i % H)]!,
  )
  return {
    name: nameOf('rmsNormRows', o, ` R=${R}`),
    kernel: rmsNormRows,
    config: { dtype, H },
    args: {
      x: { dtype, shape: [T, H], data: x },
      rows: { dtype: 'i32', shape: [R], data: rows },
      gamma: { dtype, shape: [H], data: gamma },
      eps,
      out: { dtype, shape: [R, H] },
    },
    check: ({ out }) => halfBound(dtype, expected, H)(out!),
  }
}

export function rmsNormQuantizeCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const { args } = rmsNormCase(o)
  const { x, gamma } = args as Record<'x' | 'gamma', HostTensor>
  const expected = rmsNormReference(halfValues(x.data!, dtype), halfValues(gamma.data!, dtype), eps)
  return {
    name: nameOf('rmsNormQuantize', o),
    kernel: rmsNormQuantize,
    config: { dtype, H },
    args: { x, gamma, eps, ...quantized(T, H) },
    check: (outputs) => checkQuantized(outputs, expected, H, F32_ERROR),
  }
}

/** Gates from −90 to 90, so that the sigmoid saturates both ways, and rows of every kind. */
function gateAndUp({ T, H, dtype, seed }: RowOptions): Uint16Array {
  const random = rng(seed)
  const kinds = mixedKinds(T).flatMap((kind) => [kind, kind === 'extreme' ? 'normal' : kind] as const)
  const x = rowsOfKinds(random, kinds, H, dtype)
  const wide = randomHalfs(random, H, dtype, 30)
  x.set(wide, 0)
  return x
}

/** The argument of ex2 errs by 2⁻²⁴ of itself, up to 2⁷: its exponential by 2⁻¹⁷. */
const SILU_ERROR = 2 ** -16

/** Below −88.7 the exponential overflows and silu is 0 in place of its value, times the up projection. */
const SILU_FLUSHED = 2 ** -121

export function siluMulCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const x = gateAndUp(o)
  const expected = siluMulReference(halfValues(x, dtype), H)
  const largest = dtype === 'f16' ? 65504 : Number.MAX_VALUE
  return {
    name: nameOf('siluMul', o),
    kernel: siluMul,
    config: { dtype, I: H },
    args: { x: { dtype, shape: [T, 2, H], data: x }, out: { dtype, shape: [T, H] } },
    check({ out }) {
      // Products that f16 cannot hold become infinite; finite neighbours of that bound may go either way.
      const actual = halfValues(out!, dtype).map((value) => Math.max(-largest, Math.min(largest, value)))
      const wanted = expected.map((value) => Math.max(-largest, Math.min(largest, value)))
      assertNear(
        actual,
        wanted,
        (i) => halfRounding(dtype, wanted[i]!) + Math.abs(wanted[i]!) * SILU_ERROR + 100 * SILU_FLUSHED,
        H,
      )
    },
  }
}

export function siluMulQuantizeCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const x = gateAndUp(o)
  const expected = siluMulReference(halfValues(x, dtype), H)
  return {
    name: nameOf('siluMulQuantize', o),
    kernel: siluMulQuantize,
    config: { dtype, I: H },
    args: { x: { dtype, shape: [T, 2, H], data: x }, ...quantized(T, H) },
    check: (outputs) => checkQuantized(outputs, expected, H, SILU_ERROR),
  }
}
