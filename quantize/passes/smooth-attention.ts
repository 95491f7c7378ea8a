import { z } from 'zod'
import type { Mat } from '../compute/compute.ts'
import { attentionBlock } from '../forward.ts'
import type { LayerState } from '../layer-state.ts'
import { definePass } from './pass.ts'
import { leastIndex } from './search-scales.ts'

/**
 * Divides the channels of keys that are large by λ = max|k|^α / max|q|^β and multiplies those of queries, so that the cache
 * rounds keys of even channels; scores stay. The two columns of a rotated pair share a λ, since the rotation mixes them, as
 * do the query heads that read the same keys; in families whose heads are normalized, all heads share the norms' gains.
 * Strengths are given, or the ones that err least in what attention gives, keys and values rounded, on some windows.
 * Source: QServe (arXiv 2405.04532), section 4.2.
 */
export const smoothAttention = definePass({
  name: 'smooth-attention',
  about: 'evens the channels of keys against those of queries; strengths are searched, layer by layer',
  options: z.strictObject({
    strength: z.union([z.number().min(0).max(1), z.literal('search')]).default('search'),
    /** β of a given strength. */
    queryStrength: z.number().min(0).max(1).default(0),
    /** Windows that the search runs on. */
    windows: z.int().min(1).default(4),
  }),
  async layer(layer, options, run) {
    const ranges = await rangesOf(layer)
    if (options.strength !== 'search') {
      await fold(layer, scalesOf(layer, ranges, options.strength, options.queryStrength))
      layer.statistics.invalidate('queries', 'keys')
      return
    }
    const strengths = [[0, 0], ...searched.flatMap((a) => [0, 1 - a].map((b) => [a, b]))] as [
      number,
      number,
    ][]
    const candidates = strengths.map(([a, b]) => scalesOf(layer, ranges, a, b))
    const best = leastIndex(await attentionErrors(layer, candidates, options.windows))
    if (best > 0) await fold(layer, candidates[best]!)
    layer.statistics.invalidate('queries', 'keys')
    run.record('strength', strengths[best]![0])
    run.record('query strength', strengths[best]![1])
  },
})

const searched = Array.from({ length: 19 }, (_, i) => (i + 1) / 20)

/** Greatest magnitudes of keys and queries, [kvHeads · headDim], made even over what has to share a scale. */
async function rangesOf(layer: LayerState): Promise<{ keys: Float64Array; queries: Float64Array }> {
  const { statistics, config } = layer
  const { heads, kvHeads } = config
  const keys = Float64Array.from((await statistics.columns('keys')).absMax)
  const queries = (await statistics.columns('queries')).absMax
  const even = (columns: ArrayLike<number>, of: number): Float64Array => evenOut(layer, columns, of)
  return { keys: even(keys, kvHeads), queries: even(queries, heads) }
}

function evenOut({ config, norms }: LayerState, columns: ArrayLike<number>, heads: number): Float64Array {
  const { kvHeads, headDim, rope } = config
  const half = rope.columns / 2
  const shared = norms.key !== undefined
  /** The first of the places that share the scale of a column. */
  const placeOf = (i: number): number => {
    const column = i % headDim
    const own = column < rope.columns ? column % half : column
    return shared ? own : Math.floor((Math.floor(i / headDim) * kvHeads) / heads) * headDim + own
  }
  const greatest = new Float64Array(kvHeads * headDim)
  for (let i = 0; i < columns.length; i++) greatest[placeOf(i)] = Math.max(greatest[placeOf(i)]!, columns[i]!)
  return greatest.map((_, i) => {
    const column = i % headDim
    const own = column < rope.columns ? column % half : column
    return greatest[shared ? own : i - column + own]!
  })
}

function scalesOf(
  { config }: LayerState,
  { keys, queries }: { readonly keys: Float64Array; readonly queries: Float64Array },
  alpha: number,
  beta: number,
): { keys: Float64Array; queries: Float64Array } {
  const { heads, kvHeads, headDim } = config
  const lambda = keys.map((k, i) => (k === 0 || queries[i] === 0 ? 1 : k ** alpha / queries[i]! ** beta))
  return {
    keys: lambda.map((value) => 1 / value),
    queries: Float64Array.from(
      { length: heads * headDim },
      (_, i) => lambda[Math.floor((Math.floor(i / headDim) * kvHeads) / heads) * headDim + (i % headDim)]!,
    ),
  }
}

type Scales = ReturnType<typeof scalesOf>

/** Multiplies what queries and keys are made of, in place; in families with norms of heads the gains alone. */
async function fold(layer: LayerState, scales: Scales): Promise<void> {
  for (const [mats, values] of targets(layer, scales))
    for (const { mat, rows } of mats) await scale(layer, mat, values, rows)
}

interface Target {
  readonly mat: Mat
  /** Whether the scales are those of rows. */
  readonly rows: boolean
}

function targets(
  { weights, biases, norms, keys, config }: LayerState,
  scales: Scales,
): (readonly [Target[], Float64Array])[] {
  const columns = (mat: Mat | undefined): Target[] => (mat ? [{ mat, rows: false }] : [])
  const { headDim } = config
  if (norms.query && norms.key)
    return [
      [columns(norms.query), scales.queries.slice(0, headDim)],
      [columns(norms.key), scales.keys.slice(0, headDim)],
      [columns(keys.mean), scales.keys],
    ]
  return [
    [[{ mat: weights.q, rows: true }, ...columns(biases.q)], scales.queries],
    [[{ mat: weights.k, rows: true }, ...columns(biases.k), ...columns(keys.mean)], scales.keys],
  ]
}

async function scale({ compute }: LayerState, mat: Mat, values: Float64Array, rows: boolean): Promise<void> {
  const { length } = values
  const scales = compute.from(values, rows ? length : 1, rows ? 1 : length)
  await (rows ? compute.scaleRows(mat, scales) : compute.scaleColumns(mat, scales))
  scales.free()
}

/** Squared errors of what attention adds to the hidden states, with rounded keys and values, under each of the scales. */
async function attentionErrors(
  layer: LayerState,
  candidates: readonly Scales[],
  count: number,
): Promise<number[]> {
  const { compute, inputs, window } = layer
  const windows = inputs.rows / window
  const step = Math.max(1, Math.floor(windows / count))
  const errors = candidates.map(() => 0)
  const dst = compute.allocate(window, inputs.columns)
  const exact = compute.allocate(window, inputs.columns)
  for (let w = 0; w < windows && w < count * step; w += step) {
    const x = compute.rowsOf(inputs, w * window, (w + 1) * window)
    await attentionBlock(exact, x, layer)
    for (const [i, candidate] of candidates.entries()) {
      const variant = await copyForFold(layer)
      await fold(variant, candidate)
      await attentionBlock(dst, x, variant, { fakeKv: true })
      await compute.add(dst, exact, -1)
      errors[i]! += await compute.dot(dst, dst)
      for (const mat of variant.copies) mat.free()
    }
  }
  for (const mat of [dst, exact]) mat.free()
  return errors
}

/** The layer with copies of its own of all that `fold` writes to. */
async function copyForFold(layer: LayerState): Promise<LayerState & { readonly copies: readonly Mat[] }> {
  const { compute, weights, biases, norms, keys } = layer
  const copies: Mat[] = []
  const copy = async (mat: Mat): Promise<Mat> => {
    const own = compute.allocate(mat.rows, mat.columns)
    await compute.copy(own, mat)
    copies.push(own)
    return own
  }
  const own = async <T extends Record<string, Mat | boolean | undefined>>(
    of: T,
    names: readonly (keyof T)[],
  ) => {
    const result = { ...of }
    for (const name of names) {
      const mat = of[name]
      if (typeof mat === 'object') result[name] = (await copy(mat)) as T[keyof T]
    }
    return result
  }
  return {
    ...layer,
    weights: await own(weights, norms.key ? [] : ['q', 'k']),
    biases: await own(biases, ['q', 'k']),
    norms: await own(norms, ['query', 'key']),
    keys: await own(keys, ['mean']),
    copies,
  }
}
