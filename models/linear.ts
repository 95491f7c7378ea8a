import { gemmConstants, gemmKernel, gemmOperands, type TileConstants } from '../kernels/gemm/operands.ts'
import type { Device } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { ProductInput } from './activations.ts'
import { bestTiles, tokenBucket } from './best-tiles.ts'
import { productScratch, takesScratch } from './product-scratch.ts'
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
  /** The same by numbers of tokens that were asked for. */
  readonly #byTokens = new Map<number, Promise<Launch>>()

  constructor(device: Device, weights: LinearWeights, places: LinearPlaces) {
    this.#device = device
    this.#weights = weights
    this.#places = places
    const { format, n: N, k: K } = weights
    // At once, so that it is part of what a loaded model takes.
    if (takesScratch(format, { N, K }, device)) productScratch(device)
  }

  /** The launch for `tokens` rows; the caller resizes its `M`. */
  launch(tokens: number): Promise<Launch> {
    let launch = this.#byTokens.get(tokens)
    if (!launch) {
      launch = this.#launchOf(tokens)
      this.#byTokens.set(tokens, launch)
    }
    return launch
  }

  #launchOf(tokens: number): Promise<Launch> {
    const { format, n: N, k: K } = this.#weights
    const device = this.#device
    const M = tokenBucket(format, { M: tokens, N, K }, device)
    const tiles = bestTiles(format, { M, N, K }, device)
    const key = JSON.stringify(tiles)
    let launch = this.#launches.get(key)
    if (!launch) {
      launch = this.#prepare(tiles)
      this.#launches.set(key, launch)
    }
    return launch
  }

  #prepare(tiles: TileConstants): Promise<Launch> {
    const { format, n: N, k: K, w, scale, zero, bias } = this.#weights
    const { type: dtype, input, out, residual } = this.#places
    const variant = {
      dtype,
      bias: bias !== undefined,
      residual: residual !== undefined,
      out: out.dtype,
    }
    const inputs =
      input instanceof Tensor ? { x: input } : { x: input.q, xScale: input.scale, xSum: input.sum }
    const known: Readonly<Record<string, Tensor<string> | undefined>> = { w, scale, zero, out, ...inputs }
    const names = Object.keys(gemmOperands(format, { M: 1, N, K }, variant, tiles))
    const args = Object.fromEntries(
      names.map((name) => [name, name === 'scratch' ? productScratch(this.#device) : known[name]]),
    )
    return prepare(this.#device, gemmKernel(format), gemmConstants(format, { N, K }, tiles, variant), {
      ...args,
      bias,
      residual,
    } as never)
  }
}
