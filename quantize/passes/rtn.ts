import { projectionNames, stackOf } from '../layer-state.ts'
import { definePass, noOptions } from './pass.ts'
import { gridOf, setRounded } from './rounding.ts'

/** Round-to-nearest: each weight takes the nearest value of its grid (`round-to-nearest.ts`). */
export const rtn = definePass({
  name: 'rtn',
  about: 'rounds each weight to the nearest value of its grid',
  options: noOptions,
  async layer(layer) {
    const { compute, weights, formats } = layer
    for (const name of projectionNames) {
      if (formats[stackOf(name)] === 'w16') continue
      const grid = await gridOf(layer, name)
      const values = compute.allocate(weights[name].rows, weights[name].columns)
      await compute.snap(values, weights[name], grid)
      setRounded(layer, name, { values, grid })
    }
  },
})
