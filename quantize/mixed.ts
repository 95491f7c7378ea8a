import { type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { QuantizeError } from './error.ts'
import type { Recipe } from './recipe.ts'
import type { QuantizedFormatName } from './round-to-nearest.ts'
import type { Sensitivity } from './sensitivity.ts'

/** Bits that a weight takes on average, scales and what else belongs to groups and rows included. */
export function bitsPerWeight(format: QuantizedFormatName, columns: number): number {
  const { bits, group } = weightFormats[format] as WeightFormat
  return bits + (group > 0 ? 16 / group : 0) + 16 / columns
}

export interface MixedRecipe {
  readonly recipe: Recipe
  /** Bits that a weight of the layers takes on average. */
  readonly bits: number
  /** The sum of the errors of what was chosen. */
  readonly error: number
}

/**
 * The recipe with products in other formats where that lessens the sum of their measured errors most for its size: from the
 * smallest format of each on, the step with the most error gone per bit is taken as long as it fits in `budget` bits a
 * weight on average. Throws `QuantizeError` where not even the smallest formats fit.
 */
export function mixFormats(
  recipe: Recipe,
  sensitivities: readonly Sensitivity[],
  budget: number,
): MixedRecipe {
  const products = byProduct(sensitivities)
  const weights = products.reduce((sum, [first]) => sum + first!.rows * first!.columns, 0)
  const chosen = products.map((choices) => choices[0]!)
  let size = chosen.reduce((sum, choice) => sum + bitsOf(choice), 0)
  if (size > budget * weights)
    throw new QuantizeError(
      `${budget} bits a weight are too few for this model, whose smallest formats take ` +
        `${(size / weights).toFixed(2)}; raise the budget`,
    )
  for (;;) {
    let best: { product: number; choice: Sensitivity; gain: number } | undefined
    for (const [product, choices] of products.entries()) {
      const now = chosen[product]!
      for (const choice of choices) {
        const more = bitsOf(choice) - bitsOf(now)
        const gain = (now.error - choice.error) / more
        if (more <= 0 || gain <= (best?.gain ?? 0) || size + more > budget * weights) continue
        best = { product, choice, gain }
      }
    }
    if (!best) break
    size += bitsOf(best.choice) - bitsOf(chosen[best.product]!)
    chosen[best.product] = best.choice
  }
  const exceptions = chosen
    .filter(({ format }) => format !== recipe.weights)
    .map(({ layer, product, format }) => ({ layers: [layer], products: [product], weights: format }))
  return {
    recipe: { ...recipe, exceptions: [...(recipe.exceptions ?? []), ...exceptions] },
    bits: size / weights,
    error: chosen.reduce((sum, { error }) => sum + error, 0),
  }
}

const bitsOf = ({ format, rows, columns }: Sensitivity): number =>
  rows * columns * bitsPerWeight(format, columns)

/** What can be chosen for each product of each layer, the smallest first. */
function byProduct(sensitivities: readonly Sensitivity[]): Sensitivity[][] {
  const products = new Map<string, Sensitivity[]>()
  for (const each of sensitivities) {
    const key = `${each.layer} ${each.product}`
    products.set(key, [...(products.get(key) ?? []), each])
  }
  return [...products.values()].map((choices) => choices.sort((a, b) => bitsOf(a) - bitsOf(b)))
}
