import type { Checkpoint } from '../checkpoint/open.ts'
import { columnMultiple } from '../dsl/format.ts'
import { weightFormats } from '../kernels/formats/index.ts'
import { layerProjections } from '../models/projections.ts'
import { takesCodes } from '../models/weights.ts'
import type { Calibration } from '../quantize/calibration.ts'
import type { Compute } from '../quantize/compute/compute.ts'
import { mixFormats } from '../quantize/mixed.ts'
import type { Recipe } from '../quantize/recipe.ts'
import { measureSensitivities } from '../quantize/sensitivity.ts'
import { UsageError } from './failure.ts'
import { progressBar } from './progress.ts'

/** Windows that products are measured on: each product has hidden states of its own in memory. */
const measuredWindows = 2

const formatsBesideCodes = ['w4a8', 'w4a8-g128', 'w8a8'] as const
const formatsBesideFloats = ['w4a16-g128', 'w4a16-g64', 'w4a16-g32'] as const

/** The recipe with formats of products chosen for `bits` a weight on average; as it is without. */
export async function mixedRecipe(
  compute: Compute,
  src: Checkpoint,
  recipe: Recipe,
  calibration: Calibration | undefined,
  bits: number | undefined,
): Promise<Recipe> {
  if (bits === undefined) return recipe
  if (recipe.weights === 'bf16' || recipe.weights === 'f32')
    throw new UsageError(`recipe ${recipe.name} keeps floats; --bits wants a quantized format`)
  const { window, ids } = calibration!
  const widths = Object.values(layerProjections(src.config)).map(({ k }: { readonly k: number }) => k)
  const formats = (takesCodes(recipe.weights) ? formatsBesideCodes : formatsBesideFloats).filter((format) =>
    widths.every((k) => k % columnMultiple(weightFormats[format]) === 0),
  )
  const bar = progressBar('Measuring products')
  const sensitivities = await measureSensitivities(
    compute,
    src,
    { window, ids: ids.subarray(0, measuredWindows * window) },
    formats,
    bar.update,
  ).finally(bar.stop)
  return mixFormats(recipe, sensitivities, bits).recipe
}
