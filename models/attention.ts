import type { ModelConfig } from '../checkpoint/config.ts'
import { decodeAttention } from '../kernels/attention/decode.ts'
import { decodeConfig } from '../kernels/attention/decode-shape.ts'
import { mostRounds, planAttention } from '../kernels/attention/plan.ts'
import { ENTRY, ROUND_UNITS } from '../kernels/attention/rounds.ts'
import { pagedAttention } from '../kernels/paged-attention.ts'
import type { Device } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Activations } from './activations.ts'
import type { KvCache } from './kv-cache.ts'
import type { StepLaunch } from './layer.ts'
import type { ActivationType } from './weights.ts'

interface AttentionParts {
  readonly device: Device
  readonly config: ModelConfig
  readonly type: ActivationType
  readonly cache: KvCache
  readonly activations: Activations
}

/** The most query tokens of a sequence that one launch of decode attention takes. */
export const DECODE_QUERIES = 8

/** No window: more than any context. */
const WHOLE_CONTEXT = 2 ** 30

/** Work lists of one window, and what makes them. */
interface Plan {
  readonly rounds: Tensor
  readonly roundCount: Tensor
  readonly launch: Launch
}

/** Kernels for sequences of so many query tokens at most. */
interface Variant {
  readonly plans: ReadonlyMap<number, Plan>
  /** Of each layer. */
  readonly launches: readonly Launch[]
}

/**
 * Attention of all layers. What work a step has is listed once, for each window that layers have; each layer then has one
 * launch. Kernels are prepared when a step first needs them: those for single query tokens are leaner.
 */
export class Attention {
  readonly #parts: AttentionParts
  readonly #variants = new Map<number, Promise<Variant>>()
  readonly #owned: Tensor[] = []

  constructor(parts: AttentionParts) {
    this.#parts = parts
  }

  /** What lists the work of a step whose sequences have up to `queries` query tokens each. */
  async planLaunches(queries: number): Promise<StepLaunch[]> {
    const { plans } = await this.#variant(queries)
    const sequences = this.#parts.activations.context.shape[0]!
    return [...plans.values()].map(({ launch }) => ({ name: 'plan', launch, size: { B: sequences } }))
  }

  /** The launch of a layer. */
  async layerLaunch(layer: number, tokens: number, queries: number): Promise<StepLaunch> {
    const { launches } = await this.#variant(queries)
    return { name: 'attention', launch: launches[layer]!, size: { T: tokens } }
  }

  free(): void {
    for (const tensor of this.#owned) tensor.free()
  }

  #variant(queries: number): Promise<Variant> {
    const most = queries === 1 ? 1 : DECODE_QUERIES
    let variant = this.#variants.get(most)
    if (!variant) {
      variant = this.#prepare(most)
      this.#variants.set(most, variant)
    }
    return variant
  }

  /** Caches of 16 bits. */
  async #prepareFloats(): Promise<Variant> {
    const { device, config, type, cache, activations } = this.#parts
    const { heads: Hq, kvHeads: Hkv, headDim: D } = config
    const { q, sequences: sequence, positions, pages, attended: out } = activations
    const c = { dtype: type, D, Hq, Hkv, HqD: Hq * D, ...cache.constants }
    const launches = await Promise.all(
      cache.layers.map(({ kv }) =>
        prepare(device, pagedAttention, c, {
          ...{ q, sequence, positions, pages, kv, out },
          scale: 1 / Math.sqrt(D),
        }),
      ),
    )
    return { plans: new Map(), launches }
  }

  async #prepare(queries: number): Promise<Variant> {
    if (!this.#parts.cache.constants.kvParams) return this.#prepareFloats()
    const { device, config, type, cache, activations } = this.#parts
    const { queryStart, context, pages, q, attended } = activations
    const { heads: Hq, kvHeads: Hkv, headDim: D } = config
    const [sequences, maxPages] = pages.shape as [number, number]
    const rooms = mostRounds(sequences, maxPages)
    const c = decodeConfig({
      kv: cache.constants.kv,
      dtype: type,
      D,
      Hq,
      Hkv,
      queries,
      target: device.target,
      multiprocessors: device.properties.multiprocessors,
    })
    const partials = this.#allocate('f32', [rooms, c.PartialRows, c.PartialColumns])
    const arrivals = this.#allocate('i32', [sequences, c.Counters])
    arrivals.fill(0)
    const widths = config.windows.map((window) => window ?? WHOLE_CONTEXT)
    const plans = new Map<number, Plan>()
    for (const window of new Set(widths)) {
      const rounds = this.#allocate('i32', [rooms, ROUND_UNITS, ENTRY])
      const roundCount = this.#allocate('i32', [1])
      const lists = { queryStart, context, pages, window, rounds, roundCount }
      plans.set(window, {
        rounds,
        roundCount,
        launch: await prepare(device, planAttention, { queries }, lists),
      })
    }
    const launches = await Promise.all(
      widths.map((window, layer) => {
        const { rounds, roundCount } = plans.get(window)!
        return prepare(device, decodeAttention, c, {
          q,
          ...cache.layers[layer]!,
          rounds,
          roundCount,
          window,
          scale: 1 / Math.sqrt(D),
          partials,
          arrivals,
          out: attended,
        })
      }),
    )
    return { plans, launches }
  }

  #allocate(dtype: 'f32' | 'i32', shape: readonly number[]): Tensor {
    const tensor = Tensor.allocate(this.#parts.device, dtype, shape)
    this.#owned.push(tensor)
    return tensor
  }
}
