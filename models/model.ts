import type { ModelConfig } from '../checkpoint/config.ts'
import type { Checkpoint } from '../checkpoint/open.ts'
import { embedTokens } from '../kernels/embed-tokens.ts'
import { type KvFormatName, PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { LogitType } from '../kernels/sampling/groups.ts'
import type { Device, Stream } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import { type Activations, allocateActivations } from './activations.ts'
import { Attention, mostQueries } from './attention.ts'
import { KvCache } from './kv-cache.ts'
import { DecoderLayer, runStepLaunch, type StepLaunch } from './layer.ts'
import { OutputHead } from './output-head.ts'
import { layerProjections } from './projections.ts'
import { ropeTable } from './rope.ts'
import { cutSequences, kindOf, type StepInput, type StepKind, type StepLimits } from './step.ts'
import { WeightLoader } from './weight-loader.ts'
import { activationTypeOf, takesCodes, weightFormatOf } from './weights.ts'

export interface ModelOptions {
  readonly limits: StepLimits
  /** Pages of the key/value cache. */
  readonly pages: number
  /** Type of the logits: f16 (the default) is half the bytes, and rounds by 2⁻¹¹ at most; f32 is for who scores texts. */
  readonly logits?: LogitType
  /** Called after each layer has been loaded. */
  readonly onProgress?: (loaded: number, total: number) => void
}

/** A Llama-like model on a device: weights, cache and the buffers of a step. */
export class Model {
  readonly device: Device
  readonly config: ModelConfig
  readonly limits: StepLimits
  readonly cache: KvCache
  /** What a step reads and writes. */
  readonly activations: Activations
  readonly #attention: Attention
  readonly #mostQueries: number
  readonly #layers: readonly DecoderLayer[]
  readonly #embed: Launch
  readonly #head: OutputHead
  readonly #owned: readonly Tensor[]

  private constructor(parts: {
    device: Device
    config: ModelConfig
    limits: StepLimits
    cache: KvCache
    activations: Activations
    attention: Attention
    mostQueries: number
    layers: readonly DecoderLayer[]
    embed: Launch
    head: OutputHead
    owned: readonly Tensor[]
  }) {
    this.device = parts.device
    this.config = parts.config
    this.limits = parts.limits
    this.cache = parts.cache
    this.activations = parts.activations
    this.#attention = parts.attention
    this.#mostQueries = parts.mostQueries
    this.#layers = parts.layers
    this.#embed = parts.embed
    this.#head = parts.head
    this.#owned = parts.owned
  }

  /** Loads a checkpoint and prepares the kernels of its layers. Throws `CheckpointError` or `DeviceError`. */
  static async load(device: Device, checkpoint: Checkpoint, options: ModelOptions): Promise<Model> {
    const { config } = checkpoint
    const { limits, onProgress } = options
    const type = activationTypeOf(checkpoint)
    const quantized = takesCodes(weightFormatOf(checkpoint))
    const { vocabSize: V, hiddenSize: H } = config

    const kv = kvFormatOf(checkpoint)
    const cache = new KvCache(device, config, kv, type, options.pages)
    const queries = mostQueries(device, kv, type, config)
    const activations = allocateActivations(device, config, limits, type, quantized, queries, options.logits)
    const attention = new Attention({ device, config, type, cache, activations })
    const positions = limits.pagesPerSequence * PAGE_TOKENS
    const cosSin = Tensor.from(device, 'f32', [positions, config.rope.columns], ropeTable(config, positions))

    const weights = new WeightLoader(device, checkpoint, type)
    try {
      const table = await weights.half('model.embed_tokens.weight', [V, H])
      const head = await OutputHead.load(weights, activations)
      const projections = layerProjections(config)
      const shared = { device, checkpoint, weights, projections, type, cache, activations, attention, cosSin }
      const layers: DecoderLayer[] = []
      for (let index = 0; index < config.layers; index++) {
        layers.push(await DecoderLayer.load({ ...shared, index }))
        onProgress?.(index + 1, config.layers)
      }
      const { ids, x } = activations
      const embed = await prepare(device, embedTokens, { dtype: type, V, H }, { ids, table, out: x })
      await weights.finish()
      return new Model({
        ...{
          device,
          config,
          limits,
          cache,
          activations,
          attention,
          mostQueries: queries,
          layers,
          embed,
          head,
        },
        owned: [table, cosSin],
      })
    } finally {
      await weights.close()
    }
  }

  /** Bytes of a page of the key/value cache, all layers counted. */
  static pageBytes(checkpoint: Checkpoint): number {
    return KvCache.pageBytes(checkpoint.config, kvFormatOf(checkpoint), activationTypeOf(checkpoint))
  }

  /** Logits of the last step, one row per entry of its `logitRows`. */
  get logits(): Tensor {
    return this.activations.logits
  }

  /** Enqueues one step. The logits are in `logits` when the stream gets there. Throws `RangeError` past the limits. */
  async step(input: StepInput, stream?: Stream): Promise<void> {
    this.upload(input, stream)
    for (const launch of await this.launches(input.ids.length, input.logitRows.length, kindOf(input)))
      runStepLaunch(launch, stream)
  }

  /**
   * The launches of a step of so many tokens and rows of logits, in order; what they read, `upload` has put there. The
   * kind must be that of the step.
   */
  async launches(tokens: number, rows: number, kind: StepKind): Promise<StepLaunch[]> {
    const layers = await Promise.all(this.#layers.map((layer) => layer.launches(tokens, kind, rows)))
    return [
      ...(await this.attentionLaunches(kind)),
      { name: 'embed', launch: this.#embed, size: { T: tokens } },
      ...layers.flat(),
      ...(rows > 0 ? await this.#head.launches(rows, rows < tokens) : []),
    ]
  }

  /** What lists the work of attention for steps of a kind; prepares what it needs, which otherwise the first such step does. */
  attentionLaunches(kind: StepKind): Promise<StepLaunch[]> {
    return this.#attention.planLaunches(kind)
  }

  free(): void {
    for (const layer of this.#layers) layer.free()
    this.#attention.free()
    this.#head.free()
    for (const tensor of this.#owned) tensor.free()
    this.activations.free()
    this.cache.free()
  }

  /** Enqueues the copy of what a step reads. Throws `RangeError` past the limits. */
  upload(input: StepInput, stream?: Stream): void {
    const { limits } = this
    const tokens = input.ids.length
    if (tokens < 1 || tokens > limits.tokens || input.logitRows.length > limits.logitRows)
      throw new RangeError(
        `a step has 1 to ${limits.tokens} tokens and at most ${limits.logitRows} rows of logits, ` +
          `got ${tokens} and ${input.logitRows.length}: load the model with larger limits`,
      )
    const attended = cutSequences(input, this.#mostQueries)
    const rows = this.activations.context.length
    if (attended.context.length > rows)
      throw new RangeError(
        `a step has at most ${rows} sequences, got ${attended.context.length}: load the model with larger limits`,
      )
    this.#attention.checkContexts(attended.context)
    this.activations.inputs.upload(input, attended, stream)
  }
}

function kvFormatOf(checkpoint: Checkpoint): KvFormatName {
  return `kv${checkpoint.format.kv.bits}`
}
