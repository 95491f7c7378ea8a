import { z } from 'zod'
import { type Compute, type Mat, NotPositiveDefinite } from '../compute/compute.ts'
import { QuantizeError } from '../error.ts'
import { type LayerState, type StackName, stacks } from '../layer-state.ts'
import { definePass } from './pass.ts'
import { gridOf, outputError, setRounded } from './rounding.ts'

/**
 * Rounds column after column and lets the columns that are left make up for the error of each, as the Gram matrix of the
 * inputs says (the Hessian of the squared error of outputs). Grids are fixed before, from the ranges that `clip` left.
 * `descending` takes the loudest columns first (GPTQ-R). A matrix that errs less when it is rounded plainly is.
 * Source: GPTQ (arXiv 2210.17323).
 */
export const gptq = definePass({
  name: 'gptq',
  about: 'rounds column by column, the later ones making up for the errors of the earlier',
  options: z.strictObject({
    /** Of the mean of the Hessian's diagonal, added to it; ten times as much, again and again, where that is too little. */
    damping: z.number().positive().default(0.01),
    order: z.enum(['plain', 'descending']).default('plain'),
    /** Columns whose errors are handed on together. */
    block: z.int().min(1).default(128),
  }),
  async layer(layer, options, run) {
    for (const stack of Object.keys(stacks) as StackName[]) {
      if (layer.formats[stack] === 'w16') continue
      const { compute } = layer
      const gram = await layer.statistics.gram(stack)
      const order = options.order === 'plain' ? undefined : descending(await compute.diagonal(gram))
      const { factor, damping } = await factorize(layer, stack, gram, order, options.damping)
      if (damping !== options.damping) run.record(`${stack} damping`, damping)
      for (const name of stacks[stack]) {
        const grid = await gridOf(layer, name)
        const weights = layer.weights[name]
        const [corrected, plain] = [
          await copyOf(compute, weights),
          compute.allocate(weights.rows, weights.columns),
        ]
        await compute.gptq(corrected, factor, grid, { block: options.block, ...(order && { order }) })
        await compute.snap(plain, weights, grid)
        const [error, rival] = [
          await outputError(layer, name, corrected),
          await outputError(layer, name, plain),
        ]
        const [kept, left] = error <= rival ? [corrected, plain] : [plain, corrected]
        left.free()
        setRounded(layer, name, { values: kept, grid })
        run.record(`${name} error of rounding`, rival > 0 ? error / rival : 1)
      }
      factor.free()
    }
  },
})

/** Places from the greatest value to the least, equal ones in their order. */
const descending = (values: Float32Array): Int32Array =>
  Int32Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b)

async function copyOf(compute: Compute, src: Mat): Promise<Mat> {
  const dst = compute.allocate(src.rows, src.columns)
  await compute.copy(dst, src)
  return dst
}

const GREATEST_DAMPING = 10

/** The factor of the inverse Hessian, permuted, with the least damping of the powers of ten that serve. */
async function factorize(
  { compute, index }: LayerState,
  stack: StackName,
  gram: Mat,
  order: Int32Array | undefined,
  least: number,
): Promise<{ factor: Mat; damping: number }> {
  const hessian = order ? await permuted(compute, gram, order) : gram
  try {
    for (let damping = least; damping <= GREATEST_DAMPING; damping *= 10)
      try {
        return { factor: await compute.cholesky(hessian, damping), damping }
      } catch (error) {
        if (!(error instanceof NotPositiveDefinite)) throw error
      }
  } finally {
    if (order) hessian.free()
  }
  throw new QuantizeError(
    `the Hessian of ${stack} in layer ${index} is singular even with a damping of ${GREATEST_DAMPING}; ` +
      'calibrate with more text, or round without gptq',
  )
}

async function permuted(compute: Compute, symmetric: Mat, order: Int32Array): Promise<Mat> {
  const [rows, both] = [0, 1].map(() => compute.allocate(symmetric.rows, symmetric.columns)) as [Mat, Mat]
  await compute.permuteRows(rows, symmetric, order)
  await compute.permuteColumns(both, rows, order)
  rows.free()
  return both
}
