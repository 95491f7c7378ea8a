import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SafetensorsWriter } from '../../checkpoint/safetensors-writer.ts'
import { bf16Bits } from '../../dsl/half.ts'
import { byteCharacters } from '../../serve/text/byte-level.ts'
import { rng } from './rng.ts'

/** Ids 0 to 255 are the bytes; then begin and end of text. */
const tinyVocabulary = 258

/** The smallest Llama that every weight format takes: one layer, two heads, and a context of 128 tokens. */
export const tinyConfig = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 128,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 64,
  intermediate_size: 128,
  vocab_size: tinyVocabulary,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  max_position_embeddings: 128,
  tie_word_embeddings: true,
  bos_token_id: 256,
  eos_token_id: 257,
}

/** A byte-level tokenizer without merges: a token a byte. */
export const tinyTokenizer = {
  added_tokens: ['<begin>', '<end>'].map((content, i) => ({ id: 256 + i, content, special: true })),
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    vocab: Object.fromEntries(byteCharacters.map((character, byte) => [character, byte])),
    merges: [],
  },
}

/** Writes a checkpoint of random weights, of one layer unless told otherwise, into a folder and returns it. */
export async function writeTinyModel(folder: string, seed = 1, layers = 1): Promise<string> {
  const { normal } = rng(seed)
  const { hidden_size: H, intermediate_size: I } = tinyConfig
  const shapes: Record<string, number[]> = {
    'model.embed_tokens.weight': [tinyVocabulary, H],
    'model.norm.weight': [H],
  }
  for (let layer = 0; layer < layers; layer++)
    for (const [name, shape] of Object.entries({
      input_layernorm: [H],
      post_attention_layernorm: [H],
      'self_attn.q_proj': [128, H],
      'self_attn.k_proj': [64, H],
      'self_attn.v_proj': [64, H],
      'self_attn.o_proj': [H, 128],
      'mlp.gate_proj': [I, H],
      'mlp.up_proj': [I, H],
      'mlp.down_proj': [H, I],
    }))
      shapes[`model.layers.${layer}.${name}.weight`] = shape
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...tinyConfig, num_hidden_layers: layers }))
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tinyTokenizer))
  const plans = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'bf16' as const, shape }))
  const writer = await SafetensorsWriter.create(join(folder, 'model.safetensors'), plans)
  for (const { name, shape } of plans) {
    const norm = shape.length === 1
    const values = Uint16Array.from({ length: shape.reduce((a, b) => a * b) }, () =>
      bf16Bits(norm ? 1 + normal() / 10 : normal() / 8),
    )
    await writer.write(name, new Uint8Array(values.buffer))
  }
  await writer.finish()
  return folder
}
