import { QuantizeError } from '../error.ts'
import { isPowerOfTwo } from '../hadamard.ts'
import { definePass, noOptions } from './pass.ts'

/**
 * Sends queries and keys through a Hadamard transform behind the rotation, at run time: products of the two stay, and no
 * channel of the keys stands out when the cache rounds them.
 */
export const hadamardKeys = definePass({
  name: 'hadamard-keys',
  about: 'sends queries and keys through a Hadamard transform at run time, before keys are quantized',
  options: noOptions,
  async layer({ config, keys }) {
    if (!isPowerOfTwo(config.headDim))
      throw new QuantizeError(
        `heads of ${config.headDim} elements have no Hadamard transform at run time, which powers of two have; ` +
          'leave hadamard-keys out of the recipe',
      )
    keys.hadamard = true
  },
})
