import type { Target } from '../../codegen/target.ts'
import type { BuiltinShape } from '../../kernels/builtin.ts'
import { embedTokens } from '../../kernels/embed-tokens.ts'
import { geluMul, geluMulQuantize } from '../../kernels/gelu-mul.ts'
import { logProbs } from '../../kernels/log-probs.ts'
import { quantizeRows, quantizeRowsFp8, quantizeRowsSumming } from '../../kernels/quantize-rows.ts'
import { addRmsNormQuantize, rmsNorm, rmsNormQuantize, rmsNormRows } from '../../kernels/rms-norm.ts'
import { siluMul, siluMulQuantize } from '../../kernels/silu-mul.ts'
import { rng } from '../../test/support/rng.ts'
import { bytesOf } from '../random-tensors.ts'
import { type KernelCase, kernelCase, type TensorPlan } from './kernel-case.ts'
import { samplingCases } from './sampling.ts'

/** From so many rows on, inputs are no longer in the cache when the next kernel comes for them. */
const cachedRows = 1024

/**
 * The kernels over rows. The inputs of few rows are what the kernel before has just written: nothing rotates but the ids that
 * say where the embedding is read. Many rows are read from memory and written to it, so all but weights rotate.
 */
export function rowCases(
  { dtype, hidden: H, intermediate: I, vocabulary: V }: BuiltinShape,
  T: number,
  target: Target,
): KernelCase[] {
  const parameters = { tokens: T }
  const rotates = T >= cachedRows
  const rows = (columns: number) => ({ dtype, shape: [T, columns], data: 'halves', rotates }) as const
  const quantized = (columns: number) =>
    ({
      q: { dtype: 'i8', shape: [T, columns], data: 'codes', rotates },
      scale: { dtype: 'f32', shape: [T], data: 'scales' },
      sum: { dtype: 'i32', shape: [T], data: 'bits' },
    }) as const
  const { q, scale } = quantized(H)
  const gamma = { dtype, shape: [H], data: 'halves' } as const
  const norm = { x: rows(H), gamma, eps: 1e-5 }
  const gate = { x: { dtype, shape: [T, 2, I], data: 'halves', rotates } } as const
  const random = rng(T)
  const ids = () => Int32Array.from({ length: T }, () => random.integer(0, V - 1))
  const table = { dtype, shape: [V, H], data: 'weights', touched: bytesOf(dtype, [T, H]) } as const
  return [
    kernelCase({
      kernel: embedTokens,
      config: { dtype, V, H },
      parameters,
      args: { ids: { dtype: 'i32', shape: [T], data: ids, rotates: true }, table, out: rows(H) },
      rotated: rotates ? 2 * table.touched : table.touched,
    }),
    kernelCase({ kernel: rmsNorm, config: { dtype, H }, parameters, args: { ...norm, out: rows(H) } }),
    kernelCase({
      kernel: rmsNormRows,
      config: { dtype, H },
      parameters,
      args: {
        ...norm,
        rows: { dtype: 'i32', shape: [T], data: () => Int32Array.from({ length: T }, (_, i) => i) },
        out: rows(H),
      },
    }),
    kernelCase({
      kernel: rmsNormQuantize,
      config: { dtype, H },
      parameters,
      args: { ...norm, ...quantized(H) },
    }),
    kernelCase({
      kernel: addRmsNormQuantize,
      config: { dtype, H },
      parameters,
      args: {
        ...norm,
        // Read and written.
        x: { ...rows(H), touched: 2 * bytesOf(dtype, [T, H]) },
        delta: rows(H),
        ...quantized(H),
      },
    }),
    kernelCase({
      kernel: quantizeRows,
      config: { dtype, H },
      parameters,
      args: { x: rows(H), ...quantized(H) },
    }),
    kernelCase({
      kernel: quantizeRowsSumming,
      config: { dtype, H },
      parameters,
      args: { x: rows(H), q, scale, inputSum: { dtype: 'f32', shape: [T], data: 'scales' } },
    }),
    ...(target.capability < 89
      ? []
      : [
          kernelCase({
            kernel: quantizeRowsFp8,
            config: { dtype, H },
            parameters,
            args: { x: rows(H), q: { ...q, dtype: 'e4m3' }, scale },
          }),
        ]),
    kernelCase({ kernel: siluMul, config: { dtype, I }, parameters, args: { ...gate, out: rows(I) } }),
    kernelCase({
      kernel: siluMulQuantize,
      config: { dtype, I },
      parameters,
      args: { ...gate, ...quantized(I) },
    }),
    ...(['erf', 'tanh'] as const).flatMap((form) => [
      kernelCase({
        kernel: geluMul,
        config: { dtype, I, form },
        parameters: { ...parameters, form },
        args: { ...gate, out: rows(I) },
      }),
      kernelCase({
        kernel: geluMulQuantize,
        config: { dtype, I, form },
        parameters: { ...parameters, form },
        args: { ...gate, ...quantized(I) },
      }),
    ]),
  ]
}

/** Choosing tokens and scoring them. The logits have just been written. */
export function logitCases(shape: BuiltinShape, B: number): KernelCase[] {
  const V = shape.vocabulary
  const logits = { dtype: 'f32', shape: [B, V], data: 'normals' } as const
  const filled = (dtype: 'f32' | 'i32', value: number): TensorPlan => {
    const array = { f32: Float32Array, i32: Int32Array }[dtype]
    return { dtype, shape: [B], data: () => new array(B).fill(value) }
  }
  return [
    ...samplingCases(shape, B),
    kernelCase({
      kernel: logProbs,
      config: { V, dtype: 'f32' },
      parameters: { tokens: B },
      args: { logits, targets: filled('i32', 3), out: filled('f32', 0) },
    }),
  ]
}
