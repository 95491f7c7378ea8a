import { quantizeRows } from '../kernels/quantize-rows.ts'
import { rmsNorm, rmsNormRows } from '../kernels/rms-norm.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Activations, QuantizedActivations } from './activations.ts'
import type { StepLaunch } from './layer.ts'
import { Linear } from './linear.ts'
import { headProjection } from './projections.ts'
import type { WeightLoader } from './weight-loader.ts'
import { takesCodes } from './weights.ts'

/** What comes behind the layers: the norm of the rows whose logits are wanted, and the product with the vocabulary. */
export class OutputHead {
  readonly #norm: Launch
  /** Of rows that are the first. */
  readonly #normFirst: Launch
  readonly #quantize: Launch | undefined
  readonly #product: Linear
  readonly #owned: readonly Tensor[]

  private constructor(
    [norm, normFirst, quantize]: readonly [Launch, Launch, Launch | undefined],
    product: Linear,
    owned: readonly Tensor[],
  ) {
    this.#norm = norm
    this.#normFirst = normFirst
    this.#quantize = quantize
    this.#product = product
    this.#owned = owned
  }

  /** Loads the head in the format that the checkpoint says. Throws `CheckpointError` or `DeviceError`. */
  static async load(
    loader: WeightLoader,
    { x, logitRows, hidden, logits }: Activations,
  ): Promise<OutputHead> {
    const { device, type } = loader
    const { config } = loader.checkpoint
    const { hiddenSize: H, normEpsilon: eps } = config
    const gamma = await loader.half('model.norm.weight', [H])
    const weights = await loader.head(headProjection(config))
    const rows = logitRows.length
    const codes: QuantizedActivations | undefined = takesCodes(weights.format)
      ? {
          q: Tensor.allocate(device, 'i8', [rows, H]),
          scale: Tensor.allocate(device, 'f32', [rows]),
          sum: Tensor.allocate(device, 'i32', [rows]),
        }
      : undefined
    const product = new Linear(device, weights, {
      type,
      input: codes ?? hidden,
      out: logits,
      residual: undefined,
    })
    const most = Math.min(rows, x.shape[0]!)
    const first = { x: x.slice(0, most), gamma, eps, out: hidden.slice(0, most) }
    const launches = await Promise.all([
      prepare(device, rmsNormRows, { dtype: type, H }, { x, rows: logitRows, gamma, eps, out: hidden }),
      prepare(device, rmsNorm, { dtype: type, H }, first),
      codes && prepare(device, quantizeRows, { dtype: type, H }, { x: hidden, ...codes }),
    ])
    const owned = [gamma, weights.w, weights.scale, weights.zero, ...Object.values(codes ?? {})]
    return new OutputHead(
      launches as readonly [Launch, Launch, Launch | undefined],
      product,
      owned.filter((tensor) => tensor !== undefined),
    )
  }

  /** The launches for so many rows of logits, in order; `first` says that these are the first, and no others. */
  async launches(rows: number, first: boolean): Promise<StepLaunch[]> {
    return [
      first
        ? { name: 'final_norm', launch: this.#normFirst, size: { T: rows } }
        : { name: 'final_norm', launch: this.#norm, size: { R: rows } },
      ...(this.#quantize ? [{ name: 'quantize_head', launch: this.#quantize, size: { T: rows } }] : []),
      { name: 'lm_head', launch: await this.#product.launch(rows), size: { M: rows } },
    ]
  }

  free(): void {
    for (const tensor of this.#owned) tensor.free()
  }
}
