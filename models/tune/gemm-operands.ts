import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { gemmOperands, type TileConstants } from '../../kernels/gemm/operands.ts'
import type { Device } from '../../runtime/device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { productScratch } from '../product-scratch.ts'
import type { GemmPool } from './gemm-pool.ts'
import { repeatedTensor } from './repeated-tensor.ts'

/** What the operands of all shapes must have room for. */
export interface GemmLimits {
  readonly shapes: readonly GemmShape[]
  /** Bytes of weights that launches take turns in reading; 0 where one copy does. */
  readonly rotationBytes: number
}

/**
 * The pool's matrices on a device. Weights and activations are one run of memory each, filled over and over, and every
 * shape's tensors are views of it: going to another shape copies next to nothing.
 */
export class DeviceOperands {
  readonly #device: Device
  readonly #format: WeightFormatName
  readonly #pool: GemmPool
  readonly #rotationBytes: number
  readonly #tensors: Readonly<Record<'w' | 'x' | 'scale' | 'xScale' | 'zero' | 'out', Tensor>>
  readonly #sums = new Map<number, { readonly tensor: Tensor; readonly values: Int32Array }>()
  readonly #tokens: number

  constructor(device: Device, format: WeightFormatName, pool: GemmPool, limits: GemmLimits) {
    this.#device = device
    this.#format = format
    this.#pool = pool
    this.#rotationBytes = limits.rotationBytes
    const most = (of: (shape: GemmShape) => number) => Math.max(...limits.shapes.map(of))
    const [N, M] = [most(({ N }) => N), most(({ M }) => M)]
    this.#tokens = M
    const weights = most((shape) => this.copies(shape) * this.#weightBytes(shape))
    this.#tensors = {
      w: repeatedTensor(device, 'u32', [weights / 4], pool.words),
      x: repeatedTensor(device, pool.activation, [most(({ M, K }) => M * K)], pool.x),
      scale: repeatedTensor(device, 'f16', [N], pool.scale),
      xScale: repeatedTensor(device, 'f32', [M], pool.xScale),
      zero: repeatedTensor(device, 'u8', [N], pool.zero),
      out: Tensor.allocate(device, 'u8', [most(({ M, N }) => 4 * M * N)]),
    }
  }

  /** Copies of the weights of a shape that fill the rotation. */
  copies(shape: GemmShape): number {
    return Math.max(1, Math.ceil(this.#rotationBytes / this.#weightBytes(shape)))
  }

  /** The arguments of a product for some tiles, with the weights of copy 0. */
  arguments(shape: GemmShape, tiles?: TileConstants): Record<string, Tensor<string>> {
    const operands = gemmOperands(this.#format, shape, { dtype: this.#pool.dtype }, tiles)
    const entries = Object.entries(operands).map(([name, { dtype, shape: extents, tag }]) => {
      if (name === 'scratch') return [name, productScratch(this.#device)] as const
      const source = name === 'xSum' ? this.#xSum(shape.K).tensor : this.#tensors[name as 'w']
      return [name, source.view(0, dtype, extents, tag ?? 'row')] as const
    })
    return Object.fromEntries(entries)
  }

  /** Copy number `copy` of the weights. Only copy 0 begins with the pool's first unit. */
  weights(shape: GemmShape, copy: number): Tensor<string> {
    const { dtype, shape: extents, tag } = gemmOperands(this.#format, shape, { dtype: this.#pool.dtype }).w!
    return this.#tensors.w.view(copy * this.#weightBytes(shape), dtype, extents, tag!)
  }

  /** Sums of the activations' rows of K columns. */
  sums(K: number): Int32Array {
    return this.#xSum(K).values
  }

  free(): void {
    for (const tensor of Object.values(this.#tensors)) tensor.free()
    for (const { tensor } of this.#sums.values()) tensor.free()
  }

  #weightBytes(shape: GemmShape): number {
    return gemmOperands(this.#format, shape, { dtype: this.#pool.dtype }).w!.shape.reduce((a, b) => a * b, 4)
  }

  #xSum(K: number): { readonly tensor: Tensor; readonly values: Int32Array } {
    let sum = this.#sums.get(K)
    if (!sum) {
      const values = Int32Array.from({ length: this.#tokens }, (_, m) => total(this.#pool.token(m, K)))
      sum = { values, tensor: Tensor.from(this.#device, 'i32', [this.#tokens], values) }
      this.#sums.set(K, sum)
    }
    return sum
  }
}

function total(values: Int8Array | Float32Array): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i]!
  return sum
}
