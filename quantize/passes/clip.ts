import { z } from 'zod'
import { projectionNames, stackOf } from '../layer-state.ts'
import type { QuantizedFormatName } from '../round-to-nearest.ts'
import { definePass } from './pass.ts'

/**
 * Lets grids cover the part of a range that errs least in the product's outputs, through the Gram matrix of its inputs:
 * row by row, or group by group. What lies beyond saturates, and the rest is rounded more finely. Source: AWQ's clip
 * (arXiv 2306.00978) and QServe's, both by outputs.
 */
export const clip = definePass({
  name: 'clip',
  about: 'narrows the ranges of grids where that lessens the error of outputs',
  options: z.strictObject({
    /** The least ratio tried, and how many steps lead there from 1. */
    least: z.number().positive().max(1).default(0.5),
    steps: z.int().min(1).max(200).default(40),
    /** Matrices that keep their whole range. */
    except: z.array(z.enum(projectionNames)).default([]),
  }),
  async layer(layer, { least, steps, except }, run) {
    const { compute, weights, formats, ratios, statistics } = layer
    const tried = Array.from({ length: steps + 1 }, (_, i) => 1 - ((1 - least) * i) / steps)
    const searched = projectionNames.filter(
      (name) => formats[stackOf(name)] !== 'w16' && !except.includes(name),
    )
    await statistics.prepare(searched.map((name) => ['gram', stackOf(name)]))
    for (const name of searched) {
      const format = formats[stackOf(name)] as QuantizedFormatName
      const gram = await statistics.gram(stackOf(name))
      ratios[name]?.free()
      const found = await compute.searchClip(weights[name], gram, format, tried, layer.zeros)
      ratios[name] = found
      let sum = 0
      for (const ratio of await compute.read(found)) sum += ratio
      run.record(`${name} mean ratio`, sum / (found.rows * found.columns))
    }
  },
})
