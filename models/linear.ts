import { gemm16 } from '../kernels/gemm-16.ts'
import { defaultTiles, type GemmConstants } from '../kernels/gemm-tiles.ts'
import { gemmW4A8, gemmW4A8Group, type W4A8GroupName } from '../kernels/gemm-w4a8.ts'
import { gemmW8A8 } from '../kernels/gemm-w8a8.ts'
import type { Device } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { ProductInput } from './activations.ts'
import type { ActivationType, LinearWeights } from './weights.ts'

/** Where a product reads and writes, and the type that it computes beside. */
interface LinearPlaces {
  readonly type: ActivationType
  readonly input: ProductInput
  readonly out: Tensor
  /** What is added to the product; may be `out`. */
  readonly residual: Tensor | undefined
}

/** One matrix product: weights, places, and a prepared launch for each tile that a number of tokens asks for. */
export class Linear {
  readonly #device: Device
  readonly #weights: LinearWeights
  readonly #places: LinearPlaces
  readonly #launches = new Map<string, Promise<Launch>>()

  constructor(device: Device, weights: LinearWeights, places: LinearPlaces) {
    this.#device = device
    this.#weights = weights
    this.#places = places
  }

  /** The launch for `tokens` rows; the caller resizes its `M`. */
  launch(tokens: number): Promise<Launch> {
    const { format, n, k } = this.#weights
    const tiles = defaultTiles(format, { M: tokens, N: n, K: k }, this.#device.target)
    const key = JSON.stringify(tiles)
    let launch = this.#launches.get(key)
    if (!launch) {
      launch = this.#prepare(tiles)
      this.#launches.set(key, launch)
    }
    return launch
  }

  #prepare(tiles: GemmConstants): Promise<Launch> {
    const { format, n: N, k: K, w, scale, zero, bias } = this.#weights
    const { type, input, out, residual } = this.#places
    const constants = {
      ...tiles,
      dtype: type,
      N,
      K,
      bias: bias !== undefined,
      residual: residual !== undefined,
    }
    const added = { bias, residual, out }
    if (input instanceof Tensor) {
      return prepare(
        this.#device,
        gemm16,
        { ...constants, warpsK: 1, out: out.dtype },
        { w, x: input, ...added },
      )
    }
    const { q: x, scale: xScale, sum: xSum } = input
    if (format === 'w8a8') {
      return prepare(this.#device, gemmW8A8, constants, { w, scale: scale!, x, xScale, ...added })
    }
    const args = { w, scale: scale!, x, xScale, xSum, ...added }
    const exact = { ...constants, zero: 'epilogue' as const }
    if (format === 'w4a8') return prepare(this.#device, gemmW4A8, exact, { ...args, zero: zero! })
    // Weights beside 16-bit activations have gone their way above.
    return prepare(this.#device, gemmW4A8Group, { ...exact, format: format as W4A8GroupName }, args)
  }
}
