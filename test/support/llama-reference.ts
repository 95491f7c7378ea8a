import type { ModelConfig, Rope } from '../../checkpoint/config.ts'
import { type Checkpoint, openCheckpoint } from '../../checkpoint/open.ts'
import type { QuantizedMatrix } from '../../checkpoint/quantized-matrix.ts'
import { widen } from '../../checkpoint/tensor.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import { kvFormats } from '../../kernels/formats/kv.ts'
import { quantizeRowsReference } from '../../kernels/quantize-rows.ts'
import { dequantize, type QuantizedFormatName } from '../../quantize/round-to-nearest.ts'
import { type HalfType, halfBits, halfValue } from './halfs.ts'

/**
 * A Llama in float64, written from the definition and not from `models/`: one sequence, one token after the other, no
 * tiles and no batches. Weights are those that the checkpoint's codes stand for; activations and the key/value cache go
 * through the checkpoint's formats, since what is left out there would hide what is tested. Nothing else is rounded.
 */
export class LlamaReference {
  readonly config: ModelConfig
  readonly #checkpoint: Checkpoint
  readonly #matrices = new Map<string, Matrix>()

  constructor(folder: string) {
    this.#checkpoint = openCheckpoint(folder)
    this.config = this.#checkpoint.config
  }

  close(): void {
    this.#checkpoint.close()
  }

  /**
   * Logits after each token. With a 16-bit type, what the engine stores is rounded to it: the difference of the two results
   * is how far an engine that is right may be off, steps between codes included.
   */
  forward(ids: readonly number[], stored?: HalfType): Float64Array[] {
    const { config } = this
    const { layers, heads, kvHeads, headDim: D, normEpsilon: eps } = config
    const { format } = this.#checkpoint
    const kv = kvFormats[`kv${format.kv.bits}`]
    const dtype = format.name === 'bf16' ? 'bf16' : 'f16'
    const embedding = this.#vector('model.embed_tokens.weight')
    const H = config.hiddenSize
    const keys: Float64Array[][][] = Array.from({ length: layers }, () =>
      Array.from({ length: kvHeads }, () => []),
    )
    const values: Float64Array[][][] = keys.map((heads) => heads.map(() => []))
    const cached = (x: Float64Array) => kv.decode(kv.encode(x.map(Math.fround), dtype), dtype)
    const turned = (x: Float64Array, position: number) => {
      const y = rotate(x, position, config.rope)
      return format.kv.keyHadamard ? hadamard(y) : y
    }

    const store = (x: Float64Array) =>
      stored ? x.map((value) => halfValue[stored](halfBits[stored](value))) : x
    const plain = format.activations.bits >= 16

    return ids.map((id, position) => {
      let x = store(embedding.slice(id * H, (id + 1) * H))
      const norm = (name: string) => rmsNorm(x, this.#vector(`${name}.weight`), eps)
      const input = (y: Float64Array) => (plain ? store(y) : y)
      for (let layer = 0; layer < layers; layer++) {
        const prefix = `model.layers.${layer}.`
        const [q, k, v] = this.#products(
          prefix,
          input(norm(`${prefix}input_layernorm`)),
          ['q', 'k', 'v'],
          'self_attn.qkv_proj',
          stored,
        ).map(store) as [Float64Array, Float64Array, Float64Array]
        const attended = new Float64Array(heads * D)
        const normalized = (x: Float64Array, name: string) =>
          config.headNorm ? rmsNorm(x, this.#vector(`${prefix}self_attn.${name}.weight`), eps) : x
        const means = format.kv.keyMean
          ? this.#vector(`${prefix}self_attn.key_mean`)
          : new Float64Array(kvHeads * D)
        const first = Math.max(0, position + 1 - (config.windows[layer] ?? Infinity))
        for (let head = 0; head < kvHeads; head++) {
          const key = turned(normalized(k.slice(head * D, (head + 1) * D), 'k_norm'), position)
          keys[layer]![head]!.push(cached(key.map((value, i) => value - means[head * D + i]!)))
          values[layer]![head]!.push(cached(v.slice(head * D, (head + 1) * D)))
        }
        for (let head = 0; head < heads; head++) {
          const own = Math.floor((head * kvHeads) / heads)
          const query = store(turned(normalized(q.slice(head * D, (head + 1) * D), 'q_norm'), position))
          const seen = [keys, values].map((all) => all[layer]![own]!.slice(first))
          // Beside caches of 16 bits, probabilities are of that type, too.
          const weigh = kv.params ? (p: number) => p : (p: number) => store(Float64Array.of(p))[0]!
          attended.set(attend(query, seen[0]!, seen[1]!, weigh), head * D)
        }
        const [o] = this.#products(prefix, store(attended), ['o'], 'self_attn.o_proj', stored)
        x = store(x.map((value, i) => value + o![i]!))
        const [gate, up] = this.#products(
          prefix,
          input(norm(`${prefix}post_attention_layernorm`)),
          ['gate', 'up'],
          'mlp.gate_up_proj',
          stored,
        ).map(store)
        const inner = gate!.map((value, i) => (value / (1 + Math.exp(-value))) * up![i]!)
        const [down] = this.#products(prefix, input(inner), ['down'], 'mlp.down_proj', stored)
        x = store(x.map((value, i) => value + down![i]!))
      }
      const normed = store(norm('model.norm'))
      const head = config.tieEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight'
      const logits = format.head
        ? multiply(
            this.#dequantized('lm_head', config.vocabSize, H, stored),
            format.head.format.includes('a8') ? quantizedRow(normed) : normed,
          )
        : multiply({ rows: config.vocabSize, values: this.#vector(head) }, normed)
      return stored ? logits.map((value) => halfValue.f16(halfBits.f16(value))) : logits
    })
  }

  /** The products of an input with several projections, biases included. */
  #products(
    prefix: string,
    input: Float64Array,
    parts: readonly string[],
    stacked: string,
    stored: HalfType | undefined,
  ): readonly Float64Array[] {
    const block = stacked.slice(0, stacked.indexOf('.'))
    if (this.#checkpoint.format.weights.bits >= 16) {
      return parts.map((part) => {
        const name = `${prefix}${block}.${part}_proj`
        const weight = this.#checkpoint.tensors.info(`${name}.weight`)
        const y = multiply({ rows: weight.shape[0]!, values: this.#vector(`${name}.weight`) }, input)
        if (!this.#checkpoint.tensors.has(`${name}.bias`)) return y
        const bias = this.#vector(`${name}.bias`)
        return y.map((value, i) => value + bias[i]!)
      })
    }
    const rows = parts.reduce((sum, part) => sum + this.#rowsOf(part), 0)
    const all = multiply(
      this.#dequantized(`${prefix}${stacked}`, rows, input.length, stored),
      this.#activations(input),
    )
    const biasName = `${prefix}${stacked}.bias`
    const bias = this.#checkpoint.tensors.has(biasName) ? this.#vector(biasName) : undefined
    const y = bias ? all.map((value, i) => value + bias[i]!) : all
    let end = 0
    return parts.map((part) => {
      const start = end
      end += this.#rowsOf(part)
      return y.slice(start, end)
    })
  }

  /** What a product takes of a row of activations. */
  #activations(input: Float64Array): Float64Array {
    if (this.#checkpoint.format.activations.bits >= 16) return input
    return quantizedRow(input)
  }

  #rowsOf(part: string): number {
    const { heads, kvHeads, headDim, intermediateSize, hiddenSize } = this.config
    const rows = { q: heads * headDim, k: kvHeads * headDim, v: kvHeads * headDim } as Record<string, number>
    return rows[part] ?? (part === 'gate' || part === 'up' ? intermediateSize : hiddenSize)
  }

  #vector(name: string): Float64Array {
    return this.#cached(name, () => ({
      rows: 1,
      values: Float64Array.from(widen(this.#checkpoint.tensors.read(name))),
    })).values
  }

  /**
   * The matrix that a projection's codes and scales stand for. Beside 16-bit activations, kernels multiply by scales before
   * the sum and round that product to the type of the activations.
   */
  #dequantized(path: string, rows: number, columns: number, stored: HalfType | undefined): Matrix {
    const { weights, activations } = this.#checkpoint.format
    const rounded = activations.bits >= 16 ? stored : undefined
    return this.#cached(`${path} ${rounded}`, () => {
      const read = (suffix: string) =>
        new Uint8Array(this.#checkpoint.tensors.read(`${path}.${suffix}`).bytes)
      const { bits, group } = weights
      const usual = bits === 8 ? 'w8a8' : `w4a${activations.bits}${group > 0 ? `-g${group}` : ''}`
      const { head, exceptions } = this.#checkpoint.format
      const named = path === 'lm_head' ? head : exceptions?.[path]
      const format = (named?.format ?? usual) as QuantizedFormatName
      const parts = weightFormats[format].unpack(new Uint32Array(read('codes').buffer), rows, columns)
      const perRow = {
        ...(activations.bits === 8 && { scale: new Uint16Array(read('scale').buffer) }),
        ...(format === 'w4a8' && { zero: read('zero') }),
      }
      const matrix = { rows, columns, ...parts, ...perRow } as QuantizedMatrix
      const values = Float64Array.from(dequantize(matrix, format))
      return { rows, values: rounded ? values.map((w) => halfValue[rounded](halfBits[rounded](w))) : values }
    })
  }

  #cached(name: string, make: () => Matrix): Matrix {
    let matrix = this.#matrices.get(name)
    if (!matrix) {
      matrix = make()
      this.#matrices.set(name, matrix)
    }
    return matrix
  }
}

/** What the int8 codes of a row stand for. */
function quantizedRow(input: Float64Array): Float64Array {
  const { q, scale } = quantizeRowsReference(input.map(Math.fround), input.length)
  return Float64Array.from(q, (code) => code * scale[0]!)
}

interface Matrix {
  readonly rows: number
  readonly values: Float64Array
}

function multiply({ rows, values }: Matrix, x: Float64Array): Float64Array {
  const k = x.length
  const y = new Float64Array(rows)
  for (let n = 0; n < rows; n++) {
    let sum = 0
    for (let i = 0; i < k; i++) sum += values[n * k + i]! * x[i]!
    y[n] = sum
  }
  return y
}

function rmsNorm(x: Float64Array, gamma: Float64Array, eps: number): Float64Array {
  const mean = x.reduce((sum, value) => sum + value * value, 0) / x.length
  return x.map((value, i) => (value / Math.sqrt(mean + eps)) * gamma[i]!)
}

/** Of the rotated columns, pairs at a distance of half of them turn by position · frequency. */
function rotate(x: Float64Array, position: number, rope: Rope): Float64Array {
  const half = rope.columns / 2
  const factor = rope.scaling?.type === 'yarn' ? rope.scaling.attentionFactor : 1
  const y = x.slice()
  for (let i = 0; i < half; i++) {
    const angle = position * frequencyOf(rope, i)
    const [cos, sin] = [factor * Math.cos(angle), factor * Math.sin(angle)]
    y[i] = x[i]! * cos - x[i + half]! * sin
    y[i + half] = x[i + half]! * cos + x[i]! * sin
  }
  return y
}

function frequencyOf({ theta, columns, scaling }: Rope, pair: number): number {
  const frequency = theta ** ((-2 * pair) / columns)
  if (scaling === undefined) return frequency
  const { factor } = scaling
  if (scaling.type === 'linear') return frequency / factor
  const turns = (scaling.originalMaxPositions * frequency) / (2 * Math.PI)
  if (scaling.type === 'llama3') {
    const { lowFrequencyFactor: low, highFrequencyFactor: high } = scaling
    if (turns > high) return frequency
    if (turns < low) return frequency / factor
    const smooth = (turns - low) / (high - low)
    return ((1 - smooth) * frequency) / factor + smooth * frequency
  }
  const turnsOf = (i: number) =>
    (scaling.originalMaxPositions * theta ** ((-2 * i) / columns)) / (2 * Math.PI)
  const pairs = Array.from({ length: columns / 2 }, (_, i) => i)
  const first = pairs.findLast((i) => turnsOf(i) >= scaling.betaFast) ?? 0
  const last = pairs.find((i) => turnsOf(i) <= scaling.betaSlow) ?? columns / 2
  const stretched = Math.min(Math.max((pair - first) / (last - first), 0), 1)
  return (stretched * frequency) / factor + (1 - stretched) * frequency
}

/** By its definition: the sign of a product is the parity of the bits that row and column share. */
function hadamard(x: Float64Array): Float64Array {
  const isOdd = (n: number) => n.toString(2).replaceAll('0', '').length % 2 === 1
  return x.map(
    (_, row) => x.reduce((sum, value, i) => sum + (isOdd(row & i) ? -value : value), 0) / Math.sqrt(x.length),
  )
}

function attend(
  q: Float64Array,
  keys: readonly Float64Array[],
  values: readonly Float64Array[],
  weigh: (p: number) => number,
): Float64Array {
  const scores = keys.map((key) => key.reduce((sum, x, d) => sum + x * q[d]!, 0) / Math.sqrt(q.length))
  // Relative to a power of two, as kernels have them: where they are rounded, the largest is, too.
  const max = Math.LN2 * Math.ceil(Math.max(...scores) / Math.LN2)
  const weights = scores.map((score) => Math.exp(score - max))
  const total = weights.reduce((a, b) => a + b)
  const out = new Float64Array(q.length)
  values.forEach((value, t) => {
    for (let d = 0; d < q.length; d++) out[d]! += (weigh(weights[t]!) / total) * value[d]!
  })
  return out
}
