import type { BuiltinShape } from '../../kernels/builtin.ts'
import type { WeightFormatName, ZeroHandling } from '../../kernels/formats/index.ts'
import type { Activation } from '../../kernels/gemm/epilogue.ts'
import {
  type GemmOperand,
  gemmConstants,
  gemmKernel,
  gemmOperands,
  unshared,
} from '../../kernels/gemm/operands.ts'
import { gemmW4A8Scaled } from '../../kernels/gemm/w4a8-scaled.ts'
import { bestTiles } from '../../models/best-tiles.ts'
import { layerProducts as productShapes } from '../../models/shapes.ts'
import { gemmWork } from '../../models/tune/gemm-work.ts'
import type { Device } from '../../runtime/device.ts'
import type { BlockName } from '../random-tensors.ts'
import { type KernelCase, kernelCase, type TensorPlan } from './kernel-case.ts'

/** What the choice of tiles asks of a device. */
export type TunedDevice = Pick<Device, 'name' | 'properties' | 'target'>

/** How a matrix product is computed. */
export interface BenchedVariant {
  readonly format: WeightFormatName
  readonly zero?: ZeroHandling
  /** What the product of gate and up does besides, in place of a launch of its own. */
  readonly activation?: Activation
}

/** The ways in which models compute a product; 8-bit floats, which need `wgmma`, are bench:gemm's. */
export const gemmVariants: readonly BenchedVariant[] = [
  { format: 'w4a8', zero: 'epilogue' },
  { format: 'w4a8', zero: 'register' },
  { format: 'w4a8-g128', zero: 'epilogue' },
  { format: 'w4a8-g128', zero: 'register' },
  { format: 'w4a16-g128' },
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

/** The four products of a layer, of which those into the residual stream add to it. */
export const layerProducts = (shape: BuiltinShape): Product[] =>
  productShapes(shape).map((product) => ({ ...product, residual: ['o', 'down'].includes(product.name) }))

/** The product with the vocabulary, in 16 bits, f32 logits. */
export const headProduct = ({ hidden, vocabulary }: BuiltinShape): Product => ({
  name: 'lm_head',
  N: vocabulary,
  K: hidden,
  residual: false,
})

/** What fills an argument, by its name; weights and activations also depend on their types. */
const contents: Readonly<Record<string, BlockName>> = {
  scale: 'halfScales',
  scaledZero: 'halfScales',
  xScale: 'scales',
  inputSum: 'normals',
  residual: 'halves',
}

/** What lies in memory with the weights, and so is read from there each time. */
const besideWeights = new Set(['w', 'scale', 'scaledZero', 'zero'])

const contentOf = (name: string, { dtype }: GemmOperand, format: WeightFormatName): BlockName => {
  if (name === 'x') return dtype === 'i8' ? 'codes' : 'halves'
  if (name === 'w' && format === 'w16') return 'weights'
  return contents[name] ?? 'bits'
}

const elementsOf = ({ shape }: GemmOperand): number => shape.reduce((product, extent) => product * extent)

const planned = (
  operands: Readonly<Record<string, GemmOperand>>,
  format: WeightFormatName,
): Record<string, TensorPlan> =>
  Object.fromEntries(
    Object.entries(operands).map(([name, operand]) => [
      name,
      {
        ...operand,
        data:
          name === 'scratch' ? () => new Int32Array(elementsOf(operand)) : contentOf(name, operand, format),
        rotates: besideWeights.has(name),
      },
    ]),
  )

/** A product for `M` tokens, with the tile that a model would take. */
export function gemmCase(
  { name, N, K, residual }: Product,
  M: number,
  { format, zero, activation }: BenchedVariant,
  device: TunedDevice,
): KernelCase {
  const shape = { M, N, K }
  const out = name === 'lm_head' ? 'f32' : 'f16'
  const variant = { dtype: 'f16', residual, zero, out, activation } as const
  const tiles = bestTiles(format, shape, device)
  const operands: Record<string, GemmOperand> = { ...gemmOperands(format, shape, variant, tiles) }
  if (residual) operands.residual = { dtype: 'f16', shape: [M, N] }
  const { ops, unit } = gemmWork(format, shape)
  return kernelCase({
    kernel: gemmKernel(format, activation),
    config: gemmConstants(format, shape, tiles, variant),
    parameters: {
      product: name,
      tokens: M,
      N,
      K,
      format,
      ...(zero && { zero }),
      ...(activation && { activation }),
    },
    args: planned(operands, format),
    ops,
    unit,
  })
}

/** A product as checkpoints of QServe want it, whose sums are those of the activations before they were quantized. */
export function scaledGemmCase({ name, N, K }: Product, M: number, device: TunedDevice): KernelCase {
  const shape = { M, N, K }
  const { xSum: _, zero: __, ...shared } = gemmOperands('w4a8', shape, { dtype: 'f16' })
  const operands: Record<string, GemmOperand> = {
    ...shared,
    scaledZero: { dtype: 'f16', shape: [N] },
    inputSum: { dtype: 'f32', shape: [M] },
  }
  const tiles = unshared(bestTiles('w4a8', shape, device))
  const { zero, ...config } = gemmConstants('w4a8', shape, tiles, { dtype: 'f16' })
  const { ops, unit } = gemmWork('w4a8', shape)
  return kernelCase({
    kernel: gemmW4A8Scaled,
    config,
    parameters: { product: name, tokens: M, N, K, format: 'w4a8', zero: 'scaled' },
    args: planned(operands, 'w4a8'),
    ops,
    unit,
  })
}
