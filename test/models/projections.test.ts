import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { layerProjections } from '../../models/projections.ts'
import { modelConfig } from '../support/model-config.ts'

test('projections of one input are stacked, in the order that the kernels read', () => {
  const { qkv, o, gateUp, down } = layerProjections(modelConfig())
  assert.equal(
    [qkv, o, gateUp, down].map(({ path, n, k }) => [path, n, k]),
    [
      ['self_attn.qkv_proj', 6 * 64 + 2 * 2 * 64, 256],
      ['self_attn.o_proj', 256, 6 * 64],
      ['mlp.gate_up_proj', 2 * 384, 256],
      ['mlp.down_proj', 256, 384],
    ],
  )
  assert.equal(qkv.parts, [
    { path: 'self_attn.q_proj', n: 384 },
    { path: 'self_attn.k_proj', n: 128 },
    { path: 'self_attn.v_proj', n: 128 },
  ])
  assert.equal(
    gateUp.parts.map(({ path }) => path),
    ['mlp.gate_proj', 'mlp.up_proj'],
  )
})

test('only qkv has a bias, and only where the configuration says so', () => {
  const biases = (attentionBias: boolean) =>
    Object.values(layerProjections(modelConfig({ attentionBias }))).map(({ bias }) => bias)
  assert.equal(biases(false), [false, false, false, false])
  assert.equal(biases(true), [true, false, false, false])
})

test.run()
