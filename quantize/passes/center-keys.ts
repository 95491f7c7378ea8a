import { definePass, noOptions } from './pass.ts'

/**
 * Takes the mean of each key channel, behind the rotation, off the keys before the cache rounds them: it shifts all scores
 * of a query by the same, which softmax does not see. Costs one subtraction at run time.
 */
export const centerKeys = definePass({
  name: 'center-keys',
  about: 'subtracts the mean of each key channel before keys are quantized',
  options: noOptions,
  async layer({ compute, keys, statistics }) {
    const { mean } = await statistics.columns('keys')
    keys.mean?.free()
    keys.mean = compute.from(mean, 1, mean.length)
  },
})
