import type { Kernel } from '../../../dsl/kernel.ts'
import { embedTokens, embedTokensReference } from '../../../kernels/embed-tokens.ts'
import { type GeluForm, geluMul, geluMulQuantize, geluTimesReference } from '../../../kernels/gelu-mul.ts'
import {
  quantizeRows,
  quantizeRowsFp8,
  quantizeRowsFp8Reference,
  quantizeRowsReference,
  quantizeRowsSumming,
  quantizeRowsSummingReference,
} from '../../../kernels/quantize-rows.ts'
import {
  addRmsNormQuantize,
  rmsNorm,
  rmsNormQuantize,
  rmsNormQuantizeReference,
  rmsNormReference,
  rmsNormRows,
} from '../../../kernels/rms-norm.ts'
import { gatedReference, siluMul, siluMulQuantize, siluTimesReference } from '../../../kernels/silu-mul.ts'
import {
  assertNear,
  type HalfType,
  halfBits,
  halfValue,
  halfValues,
  mixedKinds,
  randomHalfs,
  rowsOfKinds,
} from '../../support/halfs.ts'
import { rng } from '../../support/rng.ts'
import { assertSame, type HostArguments, type KernelCase, type Outputs } from '../../support/run-kernel.ts'

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
    check: checkQuantized(quantizeRowsReference(halfValues(x, dtype), H), H),
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

/** Codes, scales and sums bit for bit. */
const checkQuantized =
  (expected: ReturnType<typeof quantizeRowsReference>, H: number) =>
  ({ q, scale, sum }: Outputs): void => {
    assertSame(scale!, expected.scale, 1, 'scale')
    assertSame(q!, expected.q, H, 'q')
    assertSame(sum!, expected.sum, 1, 'sum')
  }

/** Values that are known bit for bit, rounded to 16 bits. */
const checkHalfs =
  (values: Float64Array, H: number, dtype: HalfType, name = 'out') =>
  (outputs: Outputs): void =>
    assertSame(outputs[name]!, Uint16Array.from(values, halfBits[dtype]), H, name)

/** The operands of a norm, rows of every kind, and their values. */
function normParts({ T, H, dtype, seed }: RowOptions) {
  const random = rng(seed)
  const x = rowsOfKinds(random, mixedKinds(T), H, dtype)
  const gamma = randomHalfs(random, H, dtype)
  return {
    args: { x: { dtype, shape: [T, H], data: x }, gamma: { dtype, shape: [H], data: gamma }, eps },
    x: halfValues(x, dtype),
    gamma: halfValues(gamma, dtype),
  }
}

export function rmsNormCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const { args, x, gamma } = normParts(o)
  return {
    name: nameOf('rmsNorm', o),
    kernel: rmsNorm,
    config: { dtype, H },
    args: { ...args, out: { dtype, shape: [T, H] } },
    check: checkHalfs(rmsNormReference(x, gamma, eps), H, dtype),
  }
}

/** The rows asked for, out of order and one of them twice. */
export function rmsNormRowsCase(o: RowOptions & { readonly R: number }): KernelCase {
  const { T, H, dtype, R } = o
  const { args, x, gamma } = normParts(o)
  const normalized = rmsNormReference(x, gamma, eps)
  const rows = Int32Array.from({ length: R }, (_, r) => (T * (r + 1) - 1 - 2 * r) % T)
  const expected = Float64Array.from(
    { length: R * H },
    (_, i) => normalized[rows[Math.floor(i / H)]! * H + (i % H)]!,
  )
  return {
    name: nameOf('rmsNormRows', o, ` R=${R}`),
    kernel: rmsNormRows,
    config: { dtype, H },
    args: { ...args, rows: { dtype: 'i32', shape: [R], data: rows }, out: { dtype, shape: [R, H] } },
    check: checkHalfs(expected, H, dtype),
  }
}

export function rmsNormQuantizeCase(o: RowOptions): KernelCase {
  const { T, H, dtype } = o
  const { args, x, gamma } = normParts(o)
  return {
    name: nameOf('rmsNormQuantize', o),
    kernel: rmsNormQuantize,
    config: { dtype, H },
    args: { ...args, ...quantized(T, H) },
    check: checkQuantized(rmsNormQuantizeReference(x, gamma, eps), H),
  }
}

/** The sum is rounded to 16 bits before it is normalized, as a later kernel reads it. */
export function addRmsNormQuantizeCase(o: RowOptions): KernelCase {
  const { T, H, dtype, seed } = o
  const { args, gamma } = normParts(o)
  const delta = rowsOfKinds(rng(seed + 1), mixedKinds(T).toReversed(), H, dtype)
  const added = halfValues(delta, dtype)
  const sums = halfValues(args.x.data, dtype).map((value, i) => {
    const sum = halfValue[dtype](halfBits[dtype](Math.fround(value + added[i]!)))
    // Two largest f16 make an infinity: nobody says what becomes of such a row.
    return Number.isFinite(sum) ? sum : 0
  })
  delta.forEach((_, i) => {
    if (sums[i] === 0) delta[i] = halfBits[dtype](-halfValue[dtype](args.x.data[i]!))
  })
  return {
    name: nameOf('addRmsNormQuantize', o),
    kernel: addRmsNormQuantize,
    config: { dtype, H },
    args: { ...args, delta: { dtype, shape: [T, H], data: delta }, ...quantized(T, H) },
    check(outputs) {
      checkHalfs(sums, H, dtype, 'x')(outputs)
      checkQuantized(rmsNormQuantizeReference(sums, gamma, eps), H)(outputs)
    },
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

type Times = (gate: number, up: number) => number

function gatedCase(
  o: RowOptions,
  kernel: Kernel,
  config: Readonly<Record<string, unknown>>,
  times: Times,
): KernelCase {
  const { T, H, dtype } = o
  const x = gateAndUp(o)
  const expected = gatedReference(halfValues(x, dtype), H, times)
  const codes = kernel.name.endsWith('Quantize')
  return {
    name: nameOf(kernel.name, o),
    kernel,
    config: { dtype, I: H, ...config },
    args: {
      x: { dtype, shape: [T, 2, H], data: x },
      ...(codes ? quantized(T, H) : { out: { dtype, shape: [T, H] } }),
    },
    check: codes ? checkQuantized(quantizeRowsReference(expected, H), H) : checkHalfs(expected, H, dtype),
  }
}

export const siluMulCase = (o: RowOptions): KernelCase =>
  gatedCase(o, siluMul as unknown as Kernel, {}, siluTimesReference)

export const siluMulQuantizeCase = (o: RowOptions): KernelCase =>
  gatedCase(o, siluMulQuantize as unknown as Kernel, {}, siluTimesReference)

export const geluMulCase = ({ form = 'erf', ...o }: RowOptions & { readonly form?: GeluForm }): KernelCase =>
  gatedCase(o, geluMul as unknown as Kernel, { form }, (gate, up) => geluTimesReference(form, gate, up))

export const geluMulQuantizeCase = ({
  form = 'erf',
  ...o
}: RowOptions & { readonly form?: GeluForm }): KernelCase =>
  gatedCase(o, geluMulQuantize as unknown as Kernel, { form }, (gate, up) =>
    geluTimesReference(form, gate, up),
  )
