import { z } from 'zod'
import type { Compute, Mat } from '../compute/compute.ts'
import type { LayerState, ProjectionName } from '../layer-state.ts'
import { hadamardTimes, timesHadamard } from './orthogonal.ts'
import { definePass } from './pass.ts'
import { randomSigns } from './random-signs.ts'

/**
 * Turns the residual stream by R = diag(signs)·H: gains of norms move into the matrices behind them, what reads the stream
 * becomes W·R, what writes to it Rᵀ·W, the embedding table E·R. A norm without gain does not see R. Outlier channels are
 * spread over all. Output head and embedding table are no longer one. First in a recipe: statistics of layers are those
 * of the turned stream. Source: QuaRot (arXiv 2404.00456), QServe (arXiv 2405.04532).
 */
export const rotate = definePass({
  name: 'rotate',
  about: 'turns the residual stream by a Hadamard matrix, so that no channel stands out',
  options: z.strictObject({
    /** Random signs before the transform, another set for another seed. */
    signs: z.boolean().default(false),
  }),
  async embedding({ compute, config, table }, options, { seed }) {
    await withSigns(compute, config.hiddenSize, options.signs, seed, (signs) =>
      timesHadamard(compute, table, config.hiddenSize, signs),
    )
  },
  async layer(layer, options, { seed }) {
    const { compute, config, weights, norms, statistics } = layer
    const order = config.hiddenSize
    await fuseGain(layer, norms.attention, ['q', 'k', 'v'])
    await fuseGain(layer, norms.mlp, ['gate', 'up'])
    await withSigns(compute, order, options.signs, seed, async (signs) => {
      for (const name of ['q', 'k', 'v', 'gate', 'up'] as const)
        await timesHadamard(compute, weights[name], order, signs)
      for (const name of ['o', 'down'] as const) await hadamardTimes(compute, weights[name], order, signs)
    })
    statistics.invalidate()
  },
  async head({ compute, config, norm, weight }, options, { seed }) {
    await compute.scaleColumns(weight, norm)
    await becomeOnes(compute, norm)
    await withSigns(compute, config.hiddenSize, options.signs, seed, (signs) =>
      timesHadamard(compute, weight, config.hiddenSize, signs),
    )
  },
})

async function fuseGain(
  { compute, weights }: LayerState,
  gain: Mat,
  readers: readonly ProjectionName[],
): Promise<void> {
  for (const name of readers) await compute.scaleColumns(weights[name], gain)
  await becomeOnes(compute, gain)
}

async function becomeOnes(compute: Compute, gain: Mat): Promise<void> {
  const ones = compute.from(new Float32Array(gain.columns).fill(1), 1, gain.columns)
  await compute.copy(gain, ones)
  ones.free()
}

async function withSigns(
  compute: Compute,
  count: number,
  random: boolean,
  seed: number,
  use: (signs?: Mat) => Promise<void>,
): Promise<void> {
  const signs = random ? compute.from(randomSigns(count, seed), 1, count) : undefined
  await use(signs)
  signs?.free()
}
