import { z } from 'zod'
import { type Compute, type Mat, NotPositiveDefinite } from '../compute/compute.ts'
import { QuantizeError } from '../error.ts'
import { type LayerState, type StackName, stacks } from '../layer-state.ts'
import { definePass } from './pass.ts'
import { gridOf, setRounded, squaredError } from './rounding.ts'

/**
 * Rounds column after column and lets the columns that are left make up for the error of each, as the Gram matrix of the
 * inputs says (the Hessian of the squared error of outputs). Grids are fixed before, from the ranges that `clip` left.
 * `descending` takes the loudest columns first (GPTQ-R). A matrix that errs less when it is rounded plainly is.
 *
 * `sequential` looks at each product's input again when the products before it are rounded. Where the recipe keeps the
 * hidden states in floats as well (`inputs: both`), weights first move to those whose outputs from that input are nearest
 * to the exact ones from the exact input, W + W·(Σ (f − x)ᵀx)·(Σ xᵀx)⁻¹, by the part `follow` of the way, so that later products make
 * up for earlier errors. Source: GPTQ (arXiv 2210.17323); for the target GPTAQ (arXiv 2504.02692), section 3.
 */
export const gptq = definePass({
  name: 'gptq',
  about: 'rounds column by column, the later ones making up for the errors of the earlier',
  options: z.strictObject({
    /** Of the mean of the Hessian's diagonal, added to it; ten times as much, again and again, where that is too little. */
    damping: z.number().positive().default(0.01),
    order: z.enum(['plain', 'descending']).default('descending'),
    /** Columns whose errors are handed on together. */
    block: z.int().min(1).default(128),
    sequential: z.boolean().default(false),
    /** Half of the way is what errs least in the logits of the models measured. */
    follow: z.number().min(0).max(1).default(0.5),
  }),
  async layer(layer, options, run) {
    const { compute, formats, statistics } = layer
    for (const stack of Object.keys(stacks) as StackName[]) {
      if (formats[stack] === 'w16') continue
      const seen = options.sequential ? await statistics.quantized(stack) : undefined
      const gram = seen?.gram ?? (await statistics.gram(stack))
      const order = options.order === 'plain' ? undefined : descending(await compute.diagonal(gram))
      const { factor, damping } = await factorize(layer, stack, gram, order, options.damping)
      if (damping !== options.damping) run.record(`${stack} damping`, damping)
      for (const name of stacks[stack]) {
        const target = await copyOf(compute, layer.weights[name])
        if (seen?.shift)
          await moveTowards(compute, target, seen.shift, { factor, order, part: options.follow })
        const grid = await gridOf(layer, name, target)
        const [corrected, plain] = [await copyOf(compute, target), await copyOf(compute, target)]
        await compute.gptq(corrected, factor, grid, { block: options.block, ...(order && { order }) })
        await compute.snap(plain, target, grid)
        const [error, rival] = [
          await squaredError(compute, gram, corrected, target),
          await squaredError(compute, gram, plain, target),
        ]
        const [kept, left] = error <= rival ? [corrected, plain] : [plain, corrected]
        for (const mat of [left, target]) mat.free()
        setRounded(layer, name, { values: kept, grid })
        run.record(`${name} error of rounding`, rival > 0 ? error / rival : 1)
      }
      for (const mat of [factor, seen?.gram, seen?.shift]) mat?.free()
    }
  },
})

interface Inverse {
  /** U of `Compute.cholesky`, of the Gram matrix permuted by `order`. */
  readonly factor: Mat
  readonly order: Int32Array | undefined
  readonly part: number
}

/** w += part · w·shift·gram⁻¹, the inverse being the damped one: inputs without errors leave w as it is. */
async function moveTowards(
  compute: Compute,
  w: Mat,
  shift: Mat,
  { factor, order, part }: Inverse,
): Promise<void> {
  const [a, b] = [compute.allocate(w.rows, w.columns), compute.allocate(w.rows, w.columns)]
  await compute.multiply(a, w, shift)
  if (order) {
    await compute.permuteColumns(b, a, order)
    await compute.copy(a, b)
  }
  await compute.multiply(b, a, factor, { transposeB: true })
  await compute.multiply(a, b, factor)
  if (order) {
    const back = new Int32Array(order.length)
    order.forEach((column, place) => {
      back[column] = place
    })
    await compute.permuteColumns(b, a, back)
    await compute.copy(a, b)
  }
  await compute.add(w, a, part)
  for (const mat of [a, b]) mat.free()
}

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
