import type { DType } from '../../dsl/dtype.ts'
import type { BuiltinShape } from '../../kernels/builtin.ts'
import { packedShape, weightFormats, type ZeroHandling } from '../../kernels/formats/index.ts'
import { gemm16 } from '../../kernels/gemm-16.ts'
import { defaultTiles } from '../../kernels/gemm-tiles.ts'
import { gemmW4A8, gemmW4A8Group } from '../../kernels/gemm-w4a8.ts'
import { gemmW8A8 } from '../../kernels/gemm-w8a8.ts'
import type { BlockName } from '../random-tensors.ts'
import { type KernelCase, kernelCase, type TensorPlan } from './kernel-case.ts'

/** How a matrix product is computed. */
export type GemmVariant =
  | { readonly format: 'w4a8' | 'w4a8-g128'; readonly zero: ZeroHandling }
  | { readonly format: 'w8a8' }
  | { readonly format: 'w16' }

/** Every way in which the kernels compute a product. */
export const gemmVariants: readonly GemmVariant[] = [
  { format: 'w4a8', zero: 'epilogue' },
  { format: 'w4a8', zero: 'register' },
  { format: 'w4a8-g128', zero: 'epilogue' },
  { format: 'w4a8-g128', zero: 'register' },
  { format: 'w8a8' },
  { format: 'w16' },
]

/** A product of a model: its name, features and columns, and whether the residual is added to it. */
export interface Product {
  readonly name: string
  readonly N: number
  readonly K: number
  readonly residual: boolean
}

/** The four products of a layer. */
export function layerProducts({ hidden, intermediate, heads, kvHeads, headDim }: BuiltinShape): Product[] {
  return [
    { name: 'qkv', N: (heads + 2 * kvHeads) * headDim, K: hidden, residual: false },
    { name: 'o', N: hidden, K: heads * headDim, residual: true },
    { name: 'gate_up', N: 2 * intermediate, K: hidden, residual: false },
    { name: 'down', N: hidden, K: intermediate, residual: true },
  ]
}

/** The product with the vocabulary, in 16 bits, f32 logits. */
export const headProduct = ({ hidden, vocabulary }: BuiltinShape): Product => ({
  name: 'lm_head',
  N: vocabulary,
  K: hidden,
  residual: false,
})

/** A product for `M` tokens, with the tile that a model would take. */
export function gemmCase(
  product: Product,
  M: number,
  variant: GemmVariant,
  target: { readonly sharedBytes: number },
): KernelCase {
  const { name, N, K, residual } = product
  const { format } = variant
  const { tag } = weightFormats[format]
  const out: DType = name === 'lm_head' ? 'f32' : 'f16'
  const weights = (data: BlockName): TensorPlan => {
    const shape = packedShape(weightFormats[format], N, K)
    return { dtype: 'u32', shape, tag, data, rotates: true }
  }
  /** Parameters of the weights, which lie beside them in memory. */
  const besides = (dtype: DType, shape: readonly number[], data: BlockName): TensorPlan => ({
    dtype,
    shape,
    data,
    rotates: true,
  })
  const places: Record<string, TensorPlan> = { out: { dtype: out, shape: [M, N], data: 'normals' } }
  if (residual) places.residual = { dtype: 'f16', shape: [M, N], data: 'halves' }
  const parts = {
    config: {
      dtype: 'f16',
      N,
      K,
      bias: false,
      residual,
      ...defaultTiles(format, { M, N, K }, target),
    },
    parameters: { product: name, tokens: M, N, K, format },
    ops: 2 * M * N * K,
  }
  if (format === 'w16') {
    const x: TensorPlan = { dtype: 'f16', shape: [M, K], data: 'halves' }
    return kernelCase({
      ...parts,
      kernel: gemm16,
      config: { ...parts.config, out },
      args: { w: weights('weights'), x, ...places },
    })
  }
  const args: Record<string, TensorPlan> = {
    w: weights('bits'),
    scale: besides('f16', [N], 'halfScales'),
    x: { dtype: 'i8', shape: [M, K], data: 'codes' },
    xScale: { dtype: 'f32', shape: [M], data: 'scales' },
    ...places,
  }
  if (format === 'w8a8') return kernelCase({ ...parts, kernel: gemmW8A8, args, unit: 'int8' })
  const { zero } = variant
  const exact = {
    ...parts,
    config: { ...parts.config, zero },
    parameters: { ...parts.parameters, zero },
    unit: 'int8',
  } as const
  const xSum: TensorPlan = { dtype: 'i32', shape: [M], data: 'bits' }
  if (format === 'w4a8')
    return kernelCase({
      ...exact,
      kernel: gemmW4A8,
      args: { ...args, xSum, zero: besides('u8', [N], 'bits') },
    })
  return kernelCase({
    ...exact,
    kernel: gemmW4A8Group,
    config: { ...exact.config, format },
    args: { ...args, xSum },
  })
}
