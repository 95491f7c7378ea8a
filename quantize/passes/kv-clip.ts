import { z } from 'zod'
import { definePass } from './pass.ts'

/**
 * Lets codes of keys and values cover a part of the range of each vector, and what lies beyond saturate: the step is finer for
 * all elements but the few at the ends. One part for the whole model, which the append multiplies by at run time.
 */
export const kvClip = definePass({
  name: 'kv-clip',
  about: 'lets codes of keys and values cover a part of the range of each vector',
  options: z.strictObject({
    /** As f32 has it, since kernels multiply by that. */
    part: z.number().gt(0).lt(1).default(0.95).transform(Math.fround),
  }),
  async layer({ kv }, { part }) {
    if (kv.bits !== 16) kv.clip = part
  },
})
