import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkContext, readConfig, readGenerationConfig } from '../../checkpoint/config.ts'
import { assertRefuses, temporaryFolder } from './support.ts'

const path = join(temporaryFolder(), 'config.json')

const llama = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  intermediate_size: 14336,
  vocab_size: 128256,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  max_position_embeddings: 131072,
  rope_theta: 500000,
  rope_scaling: {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
  bos_token_id: 128000,
  eos_token_id: [128001, 128008, 128009],
}
const without = (key: keyof typeof llama) => ({ ...llama, [key]: undefined })
const qwen = {
  ...llama,
  architectures: ['Qwen2ForCausalLM'],
  rope_scaling: undefined,
  sliding_window: 4096,
  use_sliding_window: false,
}

const read = (value: unknown) => {
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value))
  return readConfig(path)
}
const refuses = (value: unknown, ...words: string[]) => assertRefuses(() => read(value), path, ...words)

test('a Llama 3.1 configuration', () => {
  assert.equal(read(llama), {
    architecture: 'LlamaForCausalLM',
    hiddenSize: 4096,
    layers: 32,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    intermediateSize: 14336,
    vocabSize: 128256,
    normEpsilon: 1e-5,
    rope: {
      theta: 500000,
      columns: 128,
      scaling: {
        type: 'llama3',
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalMaxPositions: 8192,
      },
    },
    tieEmbeddings: false,
    attentionBias: false,
    headNorm: false,
    maxPositions: 131072,
    windows: Array(32).fill(undefined),
    bosId: 128000,
    eosIds: [128001, 128008, 128009],
  })
})

test('what older and smaller files leave out has its usual value', () => {
  const old = read({
    ...without('num_key_value_heads'),
    rope_theta: undefined,
    rope_scaling: null,
    eos_token_id: 2,
  })
  assert.is(old.kvHeads, 32)
  assert.equal(old.rope, { theta: 10000, columns: 128, scaling: undefined })
  assert.equal(old.eosIds, [2])
  assert.equal(read(without('eos_token_id')).eosIds, [])
  assert.is(read({ ...llama, head_dim: 64 }).headDim, 64)
})

test('rope scaling is read in each of its spellings', () => {
  const scaling = (rope: object) => read({ ...without('rope_scaling'), ...rope }).rope
  const linear = { theta: 500000, columns: 128, scaling: { type: 'linear', factor: 4 } }
  assert.equal(scaling({ rope_scaling: { type: 'linear', factor: 4 } }), linear)
  assert.equal(scaling({ rope_parameters: { rope_type: 'linear', factor: 4, rope_theta: 500000 } }), linear)
  assert.equal(scaling({ rope_theta: undefined, rope_parameters: { rope_type: 'default', rope_theta: 7 } }), {
    theta: 7,
    columns: 128,
    scaling: undefined,
  })
})

test('YaRN stretches the context it was given, and scales attention as its paper suggests', () => {
  const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32768 }
  const stretched = read({ ...llama, max_position_embeddings: 32768, rope_scaling: yarn })
  assert.is(stretched.maxPositions, 131072)
  assert.equal(stretched.rope.scaling, {
    type: 'yarn',
    factor: 4,
    originalMaxPositions: 32768,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: 0.1 * Math.log(4) + 1,
  })
  const scaling = (fields: object) => {
    const found = read({ ...llama, rope_scaling: { ...yarn, ...fields } }).rope.scaling
    return found?.type === 'yarn' ? found : assert.unreachable()
  }
  assert.is(scaling({ attention_factor: 0.5 })?.attentionFactor, 0.5)
  assert.is(scaling({ mscale: 0.7, mscale_all_dim: 0.7 })?.attentionFactor, 1)
  assert.is(scaling({ original_max_position_embeddings: undefined })?.originalMaxPositions, 131072)
  assert.is(scaling({ beta_fast: 16, truncate: false })?.betaFast, 16)
})

test('part of a head may be rotated, in sixteens', () => {
  assert.is(read({ ...llama, partial_rotary_factor: 0.75 }).rope.columns, 96)
  assert.is(
    read({ ...llama, rope_theta: undefined, rope_parameters: { partial_rotary_factor: 0.25 } }).rope.columns,
    32,
  )
  refuses({ ...llama, partial_rotary_factor: 0.3 }, '38 of a head', 'multiples of 16')
})

test('rope scalings that are not computed are refused by name', () => {
  for (const type of ['dynamic', 'longrope'])
    refuses(
      { ...llama, rope_scaling: { type, factor: 2 } },
      `rope scaling ${type}`,
      'linear, llama3 and yarn',
    )
  refuses({ ...llama, rope_scaling: { rope_type: 'linear' } }, 'linear needs factor')
  refuses({ ...llama, rope_scaling: { rope_type: 'llama3', factor: 8 } }, 'needs low_freq_factor')
  refuses({ ...llama, rope_scaling: { ...llama.rope_scaling, high_freq_factor: 1 } }, 'high_freq_factor')
  refuses({ ...llama, rope_scaling: { type: 'yarn' } }, 'yarn needs factor')
  refuses({ ...llama, rope_parameters: { rope_theta: 10000 } }, '500000', '10000')
})

test('Qwen 2 has a bias on q, k and v; Llama must not claim one', () => {
  assert.ok(read(qwen).attentionBias)
  refuses({ ...llama, attention_bias: true }, 'attention_bias', 'o_proj')
  refuses({ ...llama, mlp_bias: true }, 'mlp_bias')
})

test('Qwen 3 normalizes queries and keys head by head, and has no biases', () => {
  const qwen3 = read({ ...qwen, architectures: ['Qwen3ForCausalLM'], attention_bias: false })
  assert.ok(qwen3.headNorm)
  assert.not(qwen3.attentionBias)
  assert.not(read(qwen).headNorm)
})

test('each layer has its window', () => {
  const windows = (config: object) =>
    read({ ...qwen, num_hidden_layers: 4, use_sliding_window: true, ...config }).windows
  assert.equal(windows({ max_window_layers: 3 }), [undefined, undefined, undefined, 4096])
  const layer_types = ['full_attention', 'sliding_attention', 'full_attention', 'sliding_attention']
  assert.equal(windows({ layer_types }), [undefined, 4096, undefined, 4096])
  assert.equal(windows({ layer_types, use_sliding_window: false }), Array(4).fill(undefined))
  const few = { ...llama, num_hidden_layers: 2 }
  refuses({ ...few, layer_types }, 'layer_types names 4 layers', '2')
  refuses({ ...few, layer_types: ['full_attention', 'linear_attention'] }, 'linear_attention')
  refuses({ ...few, layer_types: layer_types.slice(0, 2) }, 'sliding_window is not given')
})

test('a context may be longer than a window, and not than what the model was made for', () => {
  const mistral = read({ ...llama, architectures: ['MistralForCausalLM'], sliding_window: 4096 })
  assert.equal(mistral.windows, Array(32).fill(4096))
  checkContext(mistral, 4097)
  checkContext(read(qwen), 131072)
  assertRefuses(() => checkContext(read(qwen), 131073), '131073', '131072')
})

test('an unknown family is refused with the list of known ones, before anything else is looked at', () => {
  refuses(
    { architectures: ['GPT2LMHeadModel'] },
    'GPT2LMHeadModel is not supported',
    'LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM',
  )
})

test('missing, mistyped and impossible fields are named', () => {
  refuses(without('hidden_size'), 'hidden_size')
  refuses({ ...llama, architectures: undefined }, 'architectures')
  refuses({ ...llama, vocab_size: '128256' }, 'vocab_size')
  refuses({ ...llama, num_hidden_layers: -1 }, 'num_hidden_layers')
  refuses({ ...llama, num_key_value_heads: 5 }, '32 query heads', '5')
  refuses({ ...llama, hidden_size: 4100 }, 'head_dim')
  refuses({ ...llama, hidden_act: 'gelu' }, 'gelu')
  refuses('{', 'not valid JSON')
  refuses('[]', 'expected object')
  assertRefuses(() => readConfig('/nonexistent/config.json'), '/nonexistent/config.json is missing')
})

test('generation defaults', () => {
  const generation = (value: unknown) => {
    writeFileSync(path, JSON.stringify(value))
    return readGenerationConfig(path)
  }
  assert.equal(generation({ eos_token_id: 3, do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 50 }), {
    eosIds: [3],
    sample: true,
    temperature: 0.6,
    topP: 0.9,
    topK: 50,
    repetitionPenalty: undefined,
  })
  assertRefuses(() => generation({ top_p: 2 }), 'top_p')
})

test.run()
