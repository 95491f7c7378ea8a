import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Architecture } from '../../checkpoint/config.ts'
import { SafetensorsWriter } from '../../checkpoint/safetensors-writer.ts'
import { type HalfType, halfBits } from './halfs.ts'
import { rng } from './rng.ts'

export interface RandomLlamaOptions {
  readonly seed: number
  readonly dtype: HalfType
  readonly architecture?: Architecture
  /** Whether layers have a `key_mean`, as quantized checkpoints may. */
  readonly keyMean?: boolean
  /** Overrides fields of `config.json`. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** Two layers with grouped queries; every width suits every weight format, and the vocabulary no power of two. */
const baseConfig = {
  hidden_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  intermediate_size: 384,
  vocab_size: 300,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  rope_theta: 10000,
  max_position_embeddings: 512,
  tie_word_embeddings: false,
  eos_token_id: 1,
}

/** Writes a checkpoint of random weights whose activations stay near 1, and returns its folder. */
export async function writeRandomLlama(folder: string, o: RandomLlamaOptions): Promise<string> {
  const { architecture = 'LlamaForCausalLM', dtype } = o
  const config = { architectures: [architecture], ...baseConfig, ...o.config }
  const { hidden_size: H, intermediate_size: I, vocab_size: V, head_dim: D } = config
  const [q, kv] = [config.num_attention_heads * D, config.num_key_value_heads * D]
  const shapes: Record<string, readonly number[]> = {
    'model.embed_tokens.weight': [V, H],
    'model.norm.weight': [H],
  }
  if (!config.tie_word_embeddings) shapes['lm_head.weight'] = [V, H]
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const prefix = `model.layers.${layer}.`
    for (const [name, n, k] of [
      ['self_attn.q_proj', q, H],
      ['self_attn.k_proj', kv, H],
      ['self_attn.v_proj', kv, H],
      ['self_attn.o_proj', H, q],
      ['mlp.gate_proj', I, H],
      ['mlp.up_proj', I, H],
      ['mlp.down_proj', H, I],
    ] as const)
      shapes[`${prefix}${name}.weight`] = [n, k]
    for (const name of ['input_layernorm', 'post_attention_layernorm'])
      shapes[`${prefix}${name}.weight`] = [H]
    if (architecture === 'Qwen3ForCausalLM')
      for (const name of ['q_norm', 'k_norm']) shapes[`${prefix}self_attn.${name}.weight`] = [D]
    if (o.keyMean) shapes[`${prefix}self_attn.key_mean`] = [config.num_key_value_heads, D]
    if (architecture === 'Qwen2ForCausalLM') {
      shapes[`${prefix}self_attn.q_proj.bias`] = [q]
      shapes[`${prefix}self_attn.k_proj.bias`] = [kv]
      shapes[`${prefix}self_attn.v_proj.bias`] = [kv]
    }
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  const { normal } = rng(o.seed)
  const plans = Object.entries(shapes).map(([name, shape]) => ({ name, dtype, shape }))
  const writer = await SafetensorsWriter.create(join(folder, 'model.safetensors'), plans)
  for (const { name, shape } of plans) {
    const [, k] = shape
    const [mean, spread] = name.endsWith('key_mean')
      ? [0, 1]
      : k !== undefined
        ? [0, name.includes('embed') ? 1 : 1 / Math.sqrt(k)]
        : name.endsWith('.bias')
          ? [0, 0.5]
          : [1, 0.2]
    const bits = halfBits[dtype]
    const values = new Uint16Array(shape.reduce((a, b) => a * b))
    for (let i = 0; i < values.length; i++) values[i] = bits(mean + spread * normal())
    await writer.write(name, new Uint8Array(values.buffer))
  }
  await writer.finish()
  return folder
}
