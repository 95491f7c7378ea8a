import type { Recipe } from '../../quantize/recipe.ts'
import type { Row } from '../results.ts'

/** One model to make and to measure. */
export interface AccuracyRun {
  readonly recipe: Recipe
  /** The name of the calibration text; `none` where the recipe looks at no activations. */
  readonly calibration: string
  readonly seed: number
}

/** Passes that need no text. */
const blind = ['rotate', 'rotate-heads', 'hadamard-keys', 'rtn']

/** Passes that put weights on a grid. */
const rounding = ['rtn', 'gptq']

const passName = ({ pass }: Recipe['passes'][number]): string => (typeof pass === 'string' ? pass : pass.name)

/**
 * The recipes that lead to one, pass by pass: plain rounding, then one pass more each, rounded plainly until the pass that
 * rounds is reached.
 */
export function ladder(recipe: Recipe): Recipe[] {
  const { name, passes } = recipe
  return Array.from({ length: passes.length + 1 }, (_, count) => {
    const taken = passes.slice(0, count)
    const last = taken.at(-1)
    const rounds = taken.some((step) => rounding.includes(passName(step)))
    return {
      ...recipe,
      name: last ? `${name}: + ${passName(last)}` : `${name}: rounding`,
      passes: rounds ? taken : [...taken, { pass: 'rtn' }],
    }
  }).filter((step, i, all) => i === 0 || JSON.stringify(step.passes) !== JSON.stringify(all[i - 1]!.passes))
}

/** Every recipe with every calibration text and seed; once where nothing depends on them. */
export function planRuns(
  recipes: readonly Recipe[],
  calibrations: readonly string[],
  seeds: number,
): AccuracyRun[] {
  return recipes.flatMap((recipe) =>
    recipe.passes.every((step) => blind.includes(passName(step)) && step.signs !== true)
      ? [{ recipe, calibration: 'none', seed: 0 }]
      : calibrations.flatMap((calibration) =>
          Array.from({ length: seeds }, (_, seed) => ({ recipe, calibration, seed })),
        ),
  )
}

/** What a run measured. */
export interface AccuracyRow extends Row {
  readonly model: string
  readonly recipe: string
  readonly format: string
  readonly calibration: string
  readonly seed: number
  /** Perplexity of the text that recipes are chosen on, and of the one that is reported. */
  readonly valid: number
  readonly test: number
  /** On the text that is reported: KL divergence from the model in floats, and how often both hold the same token likeliest. */
  readonly divergence: number
  readonly agreement: number
  readonly seconds: number
}

/**
 * Mean and spread of each recipe's runs over those of the model in floats, in percent: rows in the order of the runs.
 * `chosen %` is what the run with the least perplexity on the text to choose on has on the other.
 */
export function summarize(rows: readonly AccuracyRow[], floats: { valid: number; test: number }): Row[] {
  const names = [...new Set(rows.map(({ recipe }) => recipe))]
  return names.map((recipe) => {
    const runs = rows.filter((row) => row.recipe === recipe)
    const over = (of: 'valid' | 'test') => runs.map((row) => 100 * (row[of] / floats[of] - 1))
    const [valid, test] = [over('valid'), over('test')]
    const best = valid.indexOf(Math.min(...valid))
    return {
      ...{ model: runs[0]!.model, recipe, format: runs[0]!.format, runs: runs.length },
      ...{ 'valid %': mean(valid), 'valid ±': deviation(valid) },
      ...{ KL: mean(runs.map((row) => row.divergence)), 'same top': mean(runs.map((row) => row.agreement)) },
      perplexity: mean(runs.map((row) => row.test)),
      ...{
        'test %': mean(test),
        'test ±': deviation(test),
        'chosen %': test[best]!,
        'chosen seed': runs[best]!.seed,
        least: Math.min(...test),
        most: Math.max(...test),
      },
    }
  })
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

/** The standard deviation of a sample; 0 of a single value. */
function deviation(values: readonly number[]): number {
  const middle = mean(values)
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0)
  return values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0
}
