import type { ModelConfig } from '../checkpoint/config.ts'
import { LOG2E } from '../dsl/math.ts'
import { SPLIT } from '../kernels/attention/arithmetic.ts'
import { decodeAttention } from '../kernels/attention/decode.ts'
import { decodeConfig } from '../kernels/attention/decode-shape.ts'
import { ITEM_WORDS } from '../kernels/attention/items.ts'
import { mostSplits, planAttention, planConfig, roomFor } from '../kernels/attention/plan.ts'
import { prefillAttention } from '../kernels/attention/prefill.ts'
import { mostPrefillTiles, planPrefill } from '../kernels/attention/prefill-plan.ts'
import { hasPrefill, prefillConfig, tileTokens } from '../kernels/attention/prefill-shape.ts'
import { TILE_WORDS } from '../kernels/attention/prefill-tiles.ts'
import { type KvFormatName, PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { Device } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Activations } from './activations.ts'
import type { KvCache } from './kv-cache.ts'
import type { StepLaunch } from './layer.ts'
import { DECODE_QUERIES, type StepKind } from './step.ts'
import type { ActivationType } from './weights.ts'

interface AttentionParts {
  readonly device: Device
  readonly config: ModelConfig
  readonly type: ActivationType
  readonly cache: KvCache
  readonly activations: Activations
}

/** No window: more than any context. */
const WHOLE_CONTEXT = 2 ** 30

/** The constants of decode attention for sequences of up to `queries` query tokens. */
function decodeConstants(
  { target, properties }: Device,
  shape: { readonly kv: KvFormatName; readonly dtype: ActivationType },
  { heads: Hq, kvHeads: Hkv, headDim: D }: ModelConfig,
  queries: number,
) {
  const { multiprocessors } = properties
  return decodeConfig({ ...shape, D, Hq, Hkv, queries, target, multiprocessors })
}

/**
 * Query tokens of a sequence that attention takes at most on a device. Where there is no prefill attention for a cache,
 * decode attention takes prompts, in pieces as long as its shared memory allows.
 */
export function mostQueries(
  device: Device,
  kv: KvFormatName,
  dtype: ActivationType,
  config: ModelConfig,
): number {
  if (device.target.name === 'sm_90a' && hasPrefill(kv, config.headDim)) return Infinity
  const lengths = [DECODE_QUERIES, 4, 2]
  return lengths.find((queries) => decodeConstants(device, { kv, dtype }, config, queries).slots >= 2) ?? 1
}

/** A kernel for all layers: what lists its work, once for each window that layers have, and each layer's launch. */
interface Variant {
  readonly plans: readonly StepLaunch[]
  readonly layers: readonly StepLaunch[]
}

/**
 * Attention of all layers. A step's work is listed first; each layer then has one launch for sequences of generated tokens,
 * and one for those of prompts, where there are any. Kernels are prepared when a step first needs them.
 */
export class Attention {
  readonly #parts: AttentionParts
  readonly #variants = new Map<string, Promise<Variant>>()
  readonly #owned: Tensor[] = []

  /** Query tokens of a sequence that attention takes at once. */
  readonly #most: number

  constructor(parts: AttentionParts) {
    this.#parts = parts
    this.#most = mostQueries(parts.device, parts.cache.constants.kv, parts.type, parts.config)
  }

  /** Throws `RangeError` where sequences of such contexts have more splits than there is room for. */
  checkContexts(contexts: Int32Array): void {
    const splits = contexts.reduce((sum, context) => sum + Math.ceil(context / SPLIT), 0)
    if (splits > this.#splits())
      throw new RangeError(
        `the sequences of a step have ${splits} times ${SPLIT} tokens of context and there is room for ` +
          `${this.#splits()}: load the model with more pages, or run fewer sequences at once`,
      )
  }

  /** What lists the work of a step. */
  async planLaunches(kind: StepKind): Promise<StepLaunch[]> {
    return (await this.#variantsOf(kind)).flatMap(({ plans }) => plans)
  }

  /** The launches of a layer for a step of so many tokens. */
  async layerLaunches(layer: number, tokens: number, kind: StepKind): Promise<StepLaunch[]> {
    const variants = await this.#variantsOf(kind)
    return variants.map(({ layers }) => ({ ...layers[layer]!, size: { T: tokens } }))
  }

  free(): void {
    for (const tensor of this.#owned) tensor.free()
  }

  #variantsOf({ queries, prompts }: StepKind): Promise<Variant[]> {
    const decode = (most: number) => this.#once(`decode ${most}`, () => this.#prepareDecode(most))
    if (queries === 1 && !prompts) return Promise.all([decode(1)])
    if (!this.#prefills) return Promise.all([decode(this.#most)])
    const prefill = () => this.#once('prefill', () => this.#preparePrefill())
    return Promise.all(prompts ? [decode(queries), prefill()] : [decode(queries)])
  }

  /** Whether prefill attention takes prompts; else decode attention takes all. */
  get #prefills(): boolean {
    return this.#most === Infinity
  }

  #once(name: string, prepareIt: () => Promise<Variant>): Promise<Variant> {
    let variant = this.#variants.get(name)
    if (!variant) {
      variant = prepareIt()
      this.#variants.set(name, variant)
    }
    return variant
  }

  /**
   * Splits of all sequences: those of twice as many tokens as the cache has, for sequences may share pages. Pieces of a
   * sequence share all.
   */
  #splits(): number {
    const { cache, activations } = this.#parts
    const [sequences, maxPages] = activations.pages.shape as [number, number]
    const most = mostSplits(sequences, maxPages)
    if (!this.#prefills) return most
    return Math.min(most, sequences + Math.ceil((2 * cache.pages * PAGE_TOKENS) / SPLIT))
  }

  async #prepareDecode(queries: number): Promise<Variant> {
    const { device, config, cache, activations } = this.#parts
    const { queryStart, context, prompts, pages, q, attended } = activations
    const sequences = pages.shape[0]!
    const rooms = roomFor(this.#splits())
    // The launch before stores the query tokens. Pieces of a prompt see each other's, and must wait for it.
    const ahead = this.#prefills || (queries === 1 && this.#most > 1)
    const c = { ...decodeConstants(device, this.#shape(), config, queries), ahead }
    const partials = this.#allocate('u32', [rooms, c.PartialRows, c.PartialColumns])
    partials.fill(0xff)
    const arrivals = this.#allocate('i32', [sequences, c.Counters])
    arrivals.fill(0)
    return this.#eachLayer(
      'attention',
      async (window) => {
        const lists = {
          items: this.#allocate('i32', [rooms, ITEM_WORDS]),
          itemCount: this.#allocate('i32', [1]),
        }
        lists.items.fill(0)
        const args = { queryStart, context, pages, window, ...lists, ...(this.#prefills && { prompts }) }
        const constants = { ...planConfig(c), prompts: this.#prefills }
        return { lists, plan: await prepare(device, planAttention, constants, args) }
      },
      (lists, window, layer) =>
        prepare(device, decodeAttention, c, {
          ...{ q, pages, partials, arrivals, window, out: attended },
          ...cache.layers[layer]!,
          ...lists,
          scale: this.#scale(),
        }),
    )
  }

  async #preparePrefill(): Promise<Variant> {
    const { device, cache, activations } = this.#parts
    const { queryStart, context, prompts, pages, q, attended } = activations
    const { multiprocessors } = device.properties
    const c = prefillConfig({ ...this.#shape(), multiprocessors })
    const rooms = mostPrefillTiles(q.shape[0]!, context.shape[0]!, tileTokens(c))
    return this.#eachLayer(
      'prefill',
      async (window) => {
        const lists = {
          tiles: this.#allocate('i32', [rooms, TILE_WORDS]),
          tileCount: this.#allocate('i32', [1]),
          taken: this.#allocate('i32', [1]),
        }
        const args = { queryStart, context, prompts, window, ...lists }
        const constants = { tileTokens: tileTokens(c) }
        return { lists, plan: await prepare(device, planPrefill, constants, args) }
      },
      (lists, window, layer) =>
        prepare(device, prefillAttention, c, {
          ...{ q, pages, window, out: attended },
          ...cache.layers[layer]!,
          ...lists,
          scale: this.#scale() * LOG2E,
        }),
    )
  }

  /** Makes the lists of each window, and the launches of each layer with those of its own. */
  async #eachLayer<Lists>(
    name: string,
    planOf: (window: number) => Promise<{ lists: Lists; plan: Launch }>,
    layerOf: (lists: Lists, window: number, layer: number) => Promise<Launch>,
  ): Promise<Variant> {
    const { config, activations } = this.#parts
    const windows = config.windows.map((window) => window ?? WHOLE_CONTEXT)
    const plans = new Map<number, { lists: Lists; plan: Launch }>()
    for (const window of new Set(windows)) plans.set(window, await planOf(window))
    const layers = await Promise.all(
      windows.map((window, layer) => layerOf(plans.get(window)!.lists, window, layer)),
    )
    const size = { B: activations.context.shape[0]! }
    return {
      plans: [...plans.values()].map(({ plan }) => ({ name: 'plan', launch: plan, size })),
      layers: layers.map((launch) => ({ name, launch, size: { T: activations.q.shape[0]! } })),
    }
  }

  #shape() {
    const { config, type, cache } = this.#parts
    const { heads: Hq, kvHeads: Hkv, headDim: D } = config
    return { kv: cache.constants.kv, dtype: type, D, Hq, Hkv }
  }

  #scale(): number {
    return 1 / Math.sqrt(this.#parts.config.headDim)
  }

  #allocate(dtype: 'u32' | 'i32', shape: readonly number[]): Tensor {
    const tensor = Tensor.allocate(this.#parts.device, dtype, shape)
    this.#owned.push(tensor)
    return tensor
  }
}
