import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { EngineStats } from '../engine/engine.ts'
import type { InferenceEngine } from '../engine/inference-engine.ts'

const prefix = 'quattuor:'
const seconds = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
const tokenCounts = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536]

/** One choice, as it is measured. */
export interface FollowedChoice {
  /** Its first step is planned. */
  begin(): void
  token(): void
  end(reason: string, tokens: number): void
}

/** Prometheus metrics, named as those of other engines but for the prefix, each with the model's name. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #success: Counter<'finished_reason'>
  readonly #promptTokens: Histogram
  readonly #generatedTokens: Histogram
  readonly #firstToken: Histogram
  readonly #interToken: Histogram
  readonly #endToEnd: Histogram
  readonly #queue: Histogram
  readonly #prefill: Histogram
  readonly #decode: Histogram

  constructor(modelName: string, engine: InferenceEngine) {
    this.#registry.setDefaultLabels({ model_name: modelName })
    this.#gauge('num_requests_running', 'Sequences that run', engine, ({ running }) => running)
    this.#gauge('num_requests_waiting', 'Requests that wait', engine, ({ waiting }) => waiting)
    this.#gauge(
      'kv_cache_usage_perc',
      'Part of the pages of the key/value cache that sequences hold, from 0 to 1',
      engine,
      ({ heldPages, pages }) => heldPages / pages,
    )
    this.#total('prefix_cache_queries', 'Tokens looked for in the cache', engine, (x) => x.prefixQueries)
    this.#total('prefix_cache_hits', 'Tokens found in the cache', engine, (x) => x.prefixHits)
    this.#total('num_preemptions', 'Sequences that gave up their pages', engine, (x) => x.preemptions)
    this.#total('prompt_tokens', 'Tokens of prompts', engine, (x) => x.promptTokens)
    this.#total('generation_tokens', 'Tokens generated', engine, (x) => x.generatedTokens)
    this.#total('engine_steps', 'Steps run', engine, (x) => x.steps)
    this.#total('engine_restarts', 'Times that the engine was started anew', engine, (x) => x.restarts)
    this.#success = new Counter({
      name: `${prefix}request_success_total`,
      help: 'Requests that ended, by reason',
      labelNames: ['finished_reason'],
      registers: [this.#registry],
    })
    this.#promptTokens = this.#histogram('request_prompt_tokens', 'Tokens of a prompt', tokenCounts)
    this.#generatedTokens = this.#histogram('request_generation_tokens', 'Tokens of an answer', tokenCounts)
    this.#firstToken = this.#histogram('time_to_first_token_seconds', 'From request to first token', seconds)
    this.#interToken = this.#histogram('inter_token_latency_seconds', 'From token to token', seconds)
    this.#endToEnd = this.#histogram('e2e_request_latency_seconds', 'From request to last token', seconds)
    this.#queue = this.#histogram('request_queue_time_seconds', 'From request to its first step', seconds)
    this.#prefill = this.#histogram('request_prefill_time_seconds', 'From first step to first token', seconds)
    this.#decode = this.#histogram('request_decode_time_seconds', 'From first token to last', seconds)
  }

  /** Follows one choice, from now on. */
  follow(promptTokens: number): FollowedChoice {
    const start = performance.now()
    let began: number | undefined
    let first: number | undefined
    let last: number | undefined
    this.#promptTokens.observe(promptTokens)
    const since = (from: number, now: number) => (now - from) / 1000
    return {
      begin: () => {
        if (began !== undefined) return
        began = performance.now()
        this.#queue.observe(since(start, began))
      },
      token: () => {
        const now = performance.now()
        if (last === undefined) {
          first = now
          this.#firstToken.observe(since(start, now))
          this.#prefill.observe(since(began ?? start, now))
        } else this.#interToken.observe(since(last, now))
        last = now
      },
      end: (reason, tokens) => {
        const now = performance.now()
        this.#success.inc({ finished_reason: reason })
        this.#generatedTokens.observe(tokens)
        this.#endToEnd.observe(since(start, now))
        if (first !== undefined) this.#decode.observe(since(first, now))
      },
    }
  }

  /** All metrics as text, and its content type. */
  async text(): Promise<{ type: string; text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  #gauge(name: string, help: string, engine: InferenceEngine, of: (stats: EngineStats) => number): void {
    new Gauge({
      name: prefix + name,
      help,
      labelNames: ['engine'],
      registers: [this.#registry],
      collect() {
        for (const [i, { stats }] of engine.engines.entries()) this.set({ engine: String(i) }, of(stats))
      },
    })
  }

  #total(name: string, help: string, engine: InferenceEngine, of: (stats: EngineStats) => number): void {
    new Counter({
      name: `${prefix}${name}_total`,
      help,
      labelNames: ['engine'],
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [i, { stats }] of engine.engines.entries()) this.inc({ engine: String(i) }, of(stats))
      },
    })
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: prefix + name, help, buckets, registers: [this.#registry] })
  }
}
