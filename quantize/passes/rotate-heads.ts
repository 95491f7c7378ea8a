import { hadamardTimes, timesHadamard } from './orthogonal.ts'
import { definePass, noOptions } from './pass.ts'

/**
 * Turns the values of each head by a Hadamard matrix, and the columns of o that read them alike: attention mixes tokens,
 * not channels, so what o gives stays. Values lose their outlier channels before the cache rounds them. Free at run
 * time. Source: QServe's "transform out_proj"; QuaRot (arXiv 2404.00456).
 */
export const rotateHeads = definePass({
  name: 'rotate-heads',
  about: 'turns the values of each head by a Hadamard matrix, and the columns of o with them',
  options: noOptions,
  async layer({ compute, config, weights, biases, statistics }) {
    const { headDim } = config
    await hadamardTimes(compute, weights.v, headDim)
    if (biases.v) await timesHadamard(compute, biases.v, headDim)
    await timesHadamard(compute, weights.o, headDim)
    statistics.invalidate('values', 'o')
  },
})
