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

/** Decode attention behind the kernel that makes queries ready, and beside prefill attention, which stands between. */
interface DecodeVariants {
  readonly alone: Variant
  readonly beside: Variant
}

/**
 * Attention of all layers. A step's work is listed first; each layer then has one launch for sequences of prompts, and one for those
 * of generated tokens, where there are any, which runs beside it. Kernels are prepared when a step first needs them.
 */
export class Attention {
  readonly #parts: AttentionParts
  #prefill: Promise<Variant> | undefined
  /** By query tokens. */
  readonly #decode = new Map<number, Promise<DecodeVariants>>()
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

  async #variantsOf({ queries, prompts }: StepKind): Promise<Variant[]> {
    if (queries <= 1 && !prompts) return [(await this.#decodeOf(1)).alone]
    if (!this.#prefills) return [(await this.#decodeOf(this.#most)).alone]
    if (!prompts) return [(await this.#decodeOf(queries)).alone]
    this.#prefill ??= this.#preparePrefill()
    if (queries === 0) return [await this.#prefill]
    const [prefill, decode] = await Promise.all([this.#prefill, this.#decodeOf(queries)])
    return [prefill, decode.beside]
  }

  #decodeOf(queries: number): Promise<DecodeVariants> {
    const variants = this.#decode.get(queries) ?? this.#prepareDecode(queries)
    this.#decode.set(queries, variants)
    return variants
  }

  /** Whether prefill attention takes prompts; else decode attention takes all. */
  get #prefills(): boolean {
    return this.#most === Infinity
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

  async #prepareDecode(queries: number): Promise<DecodeVariants> {
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
    const { plans, listsOf } = await this.#eachWindow(async (window) => {
      const lists = {
        items: this.#allocate('i32', [rooms, ITEM_WORDS]),
        itemCount: this.#allocate('i32', [1]),
      }
      lists.items.fill(0)
      const args = { queryStart, context, pages, window, ...lists, ...(this.#prefills && { prompts }) }
      const constants = { ...planConfig(c), prompts: this.#prefills }
      return { lists, plan: await prepare(device, planAttention, constants, args) }
    })
    const variantOf = async (beside: number): Promise<Variant> => ({
      plans,
      layers: await this.#eachLayer('attention', (window, layer) =>
        prepare(device, decodeAttention, c, {
          ...{ q, pages, partials, arrivals, window, beside, out: attended },
          ...cache.layers[layer]!,
          ...listsOf(window),
          scale: this.#scale(),
        }),
      ),
    })
    return { alone: await variantOf(0), beside: await variantOf(1) }
  }

  async #preparePrefill(): Promise<Variant> {
    const { device, cache, activations } = this.#parts
    const { queryStart, context, prompts, pages, q, attended } = activations
    const { multiprocessors } = device.properties
    const c = prefillConfig({ ...this.#shape(), multiprocessors })
    const rooms = mostPrefillTiles(q.shape[0]!, context.shape[0]!, tileTokens(c))
    const { plans, listsOf } = await this.#eachWindow(async (window) => {
      const lists = {
        tiles: this.#allocate('i32', [rooms, TILE_WORDS]),
        tileCount: this.#allocate('i32', [1]),
        taken: this.#allocate('i32', [1]),
      }
      const args = { queryStart, context, prompts, window, ...lists }
      const constants = { tileTokens: tileTokens(c) }
      return { lists, plan: await prepare(device, planPrefill, constants, args) }
    })
    const layers = await this.#eachLayer('prefill', (window, layer) =>
      prepare(device, prefillAttention, c, {
        ...{ q, pages, window, out: attended },
        ...cache.layers[layer]!,
        ...listsOf(window),
        scale: this.#scale() * LOG2E,
      }),
    )
    return { plans, layers }
  }

  /** Makes the lists of each window that layers have, and the launches that fill them. */
  async #eachWindow<Lists>(
    planOf: (window: number) => Promise<{ lists: Lists; plan: Launch }>,
  ): Promise<{ plans: StepLaunch[]; listsOf: (window: number) => Lists }> {
    const all = new Map<number, { lists: Lists; plan: Launch }>()
    for (const window of new Set(this.#windows)) all.set(window, await planOf(window))
    const size = { B: this.#parts.activations.context.shape[0]! }
    return {
      plans: [...all.values()].map(({ plan }) => ({ name: 'plan', launch: plan, size })),
      listsOf: (window) => all.get(window)!.lists,
    }
  }

  /** The launches of each layer. */
  async #eachLayer(
    name: string,
    layerOf: (window: number, layer: number) => Promise<Launch>,
  ): Promise<StepLaunch[]> {
    const launches = await Promise.all(this.#windows.map(layerOf))
    const size = { T: this.#parts.activations.q.shape[0]! }
    return launches.map((launch) => ({ name, launch, size }))
  }

  /** The window of each layer. */
  get #windows(): number[] {
    return this.#parts.config.windows.map((window) => window ?? WHOLE_CONTEXT)
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
