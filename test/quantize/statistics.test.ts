import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Mat } from '../../quantize/compute/compute.ts'
import { HostCompute } from '../../quantize/compute/host.ts'
import { forwardLayer } from '../../quantize/forward.ts'
import { type Site, sites } from '../../quantize/layer-state.ts'
import { LayerStatistics } from '../../quantize/statistics.ts'
import { randomModel } from '../support/quantized-layers.ts'

const compute = new HostCompute('f64')
const window = 12
const { layers, embedding, ids } = await randomModel(compute, { seed: 31, window, windows: 5 })
const inputs = compute.allocate(ids.length, embedding.config.hiddenSize)
await compute.embed(inputs, embedding.table, ids)
const layer = { ...layers[0]!, inputs }

/** The activations of a site for all tokens at once. */
async function activations(site: Site): Promise<Mat> {
  const x = compute.allocate(inputs.rows, inputs.columns)
  await compute.copy(x, inputs)
  let seen: Mat | undefined
  await forwardLayer(x, layer, {
    async observe(at, m) {
      if (at !== site) return
      seen = compute.allocate(m.rows, m.columns)
      await compute.copy(seen, m)
    },
  })
  return seen!
}

const close = (actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void => {
  assert.is(actual.length, expected.length)
  for (let i = 0; i < expected.length; i++)
    assert.ok(
      Math.abs(actual[i]! - expected[i]!) <= 1e-6 * (1 + Math.abs(expected[i]!)),
      `${what} ${i}: ${actual[i]} ${expected[i]}`,
    )
}

for (const pieceTokens of [1, 24, 1000])
  test(`in pieces of ${pieceTokens} tokens, statistics are those of all tokens at once`, async () => {
    const statistics = new LayerStatistics(layer, { pieceTokens, weighting: 'uniform' })
    for (const site of sites) {
      const x = await activations(site)
      const gram = compute.allocate(x.columns, x.columns)
      await compute.gram(gram, x)
      close(await compute.read(await statistics.gram(site)), await compute.read(gram), `${site} gram`)
      const [found, expected] = [await statistics.columns(site), await compute.columnStats(x)]
      for (const what of ['absMax', 'mean', 'meanAbs', 'min', 'max'] as const)
        close(found[what], expected[what], `${site} ${what}`)
      close(await compute.read(await statistics.sample(site)), await compute.read(x), `${site} sample`)
    }
  })

test('statistics are kept until they are forgotten, site by site', async () => {
  const statistics = new LayerStatistics(layer, { pieceTokens: 24, weighting: 'uniform' })
  await statistics.prepare([
    ['gram', 'qkv'],
    ['gram', 'gateUp'],
  ])
  const [qkv, gateUp] = [await statistics.gram('qkv'), await statistics.gram('gateUp')]
  assert.is(await statistics.gram('qkv'), qkv)
  statistics.invalidate('gateUp')
  assert.is(await statistics.gram('qkv'), qkv)
  assert.is.not(await statistics.gram('gateUp'), gateUp)
  statistics.invalidate()
  assert.is.not(await statistics.gram('qkv'), qkv)
})

test('residual weighting divides each token by the mean square of its hidden states', async () => {
  const statistics = new LayerStatistics(layer, { pieceTokens: 24, weighting: 'residual' })
  const x = await activations('o')
  const weights = compute.allocate(inputs.rows, 1)
  await compute.rowMeanSquare(weights, inputs)
  const inverse = compute.from(
    (await compute.read(weights)).map((square: number) => 1 / square),
    inputs.rows,
    1,
  )
  const gram = compute.allocate(x.columns, x.columns)
  await compute.gram(gram, x, inverse)
  close(await compute.read(await statistics.gram('o')), await compute.read(gram), 'gram')
})

test.run()
