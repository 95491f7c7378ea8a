import type { ColumnStats, Compute, Mat } from './compute/compute.ts'
import { type ForwardLayer, forwardLayer, withRounded } from './forward.ts'
import { type LayerState, type Site, type StackName, type Statistics, sites } from './layer-state.ts'

/** Most rows of a sample. */
const sampleRows = 512

/** How the tokens of a Gram matrix count: alike, or each divided by the mean square of its hidden states. */
export type Weighting = 'uniform' | 'residual'

type Kind = 'columns' | 'gram' | 'sample'

/** What one run of the layer gathers for a site. */
interface Wanted {
  columns?: ColumnSums
  gram?: Mat
  sample?: { readonly mat: Mat; filled: number }
}

/** What statistics are of. */
type StatisticsLayer = ForwardLayer & Pick<LayerState, 'inputs' | 'floatInputs' | 'rounded'>

/** The statistics of a layer over its calibration tokens, by runs of the layer over pieces of them. */
export class LayerStatistics implements Statistics {
  readonly #layer: StatisticsLayer
  readonly #pieceTokens: number
  readonly #weighting: Weighting
  readonly #columns = new Map<Site, ColumnStats>()
  readonly #mats = { gram: new Map<Site, Mat>(), sample: new Map<Site, Mat>() }

  /** `pieceTokens`, rounded to whole windows, bounds the memory of activations. The layer may change between runs. */
  constructor(
    layer: StatisticsLayer,
    options: { readonly pieceTokens: number; readonly weighting: Weighting },
  ) {
    this.#layer = layer
    this.#pieceTokens = options.pieceTokens
    this.#weighting = options.weighting
  }

  async columns(site: Site): Promise<ColumnStats> {
    await this.prepare([['columns', site]])
    return this.#columns.get(site)!
  }

  async gram(site: Site): Promise<Mat> {
    await this.prepare([['gram', site]])
    return this.#mats.gram.get(site)!
  }

  async sample(site: Site): Promise<Mat> {
    await this.prepare([['sample', site]])
    return this.#mats.sample.get(site)!
  }

  async prepare(wanted: readonly (readonly [Kind, Site])[]): Promise<void> {
    const { compute, inputs } = this.#layer
    const missing = wanted.filter(([kind, site]) =>
      kind === 'columns' ? !this.#columns.has(site) : !this.#mats[kind].has(site),
    )
    if (missing.length === 0) return
    const found = new Map<Site, Wanted>()
    for (const [kind, site] of missing) {
      const entry = found.get(site) ?? {}
      found.set(site, entry)
      const width = this.#width(site)
      if (kind === 'columns') entry.columns = new ColumnSums()
      else if (kind === 'gram') entry.gram = compute.allocate(width, width)
      else entry.sample = { mat: compute.allocate(Math.min(sampleRows, inputs.rows), width), filled: 0 }
    }
    const last = sites.findLast((site) => found.has(site))!
    for (const { first, end } of pieces(inputs.rows, this.#layer.window, this.#pieceTokens)) {
      const x = compute.allocate(end - first, inputs.columns)
      await compute.copy(x, compute.rowsOf(inputs, first, end))
      const weights =
        this.#weighting === 'residual' && missing.some(([kind]) => kind === 'gram')
          ? await inverseMeanSquares(compute, x)
          : undefined
      await forwardLayer(x, this.#layer, {
        last,
        observe: async (site, m) => {
          const entry = found.get(site)
          if (entry) await this.#gather(entry, m, first, weights)
        },
      })
      weights?.free()
      x.free()
    }
    for (const [site, entry] of found) {
      if (entry.columns) this.#columns.set(site, entry.columns.result())
      if (entry.gram) this.#mats.gram.set(site, entry.gram)
      if (entry.sample) this.#mats.sample.set(site, entry.sample.mat)
    }
  }

  async quantized(site: StackName): Promise<{ gram: Mat; shift?: Mat }> {
    const layer = this.#layer
    const { compute, inputs, floatInputs } = layer
    const width = this.#width(site)
    const gram = compute.allocate(width, width)
    const shift = floatInputs && compute.allocate(width, width)
    for (const { first, end } of pieces(inputs.rows, layer.window, this.#pieceTokens)) {
      const seen = async (from: Mat, of: ForwardLayer, fake: boolean): Promise<Mat> => {
        const [x, at] = [compute.allocate(end - first, inputs.columns), compute.allocate(end - first, width)]
        await compute.copy(x, compute.rowsOf(from, first, end))
        const observe = async (reached: Site, m: Mat): Promise<void> => {
          if (reached === site) await compute.copy(at, m)
        }
        await forwardLayer(x, of, { last: site, observe, fakeActivations: fake, fakeKv: fake })
        x.free()
        return at
      }
      const weights =
        this.#weighting === 'residual'
          ? await inverseMeanSquares(compute, compute.rowsOf(inputs, first, end))
          : undefined
      const x = await seen(inputs, withRounded(layer), true)
      await compute.gram(gram, x, weights)
      if (floatInputs && shift) {
        const f = await seen(floatInputs, layer, false)
        await compute.add(f, x, -1)
        if (weights) await compute.scaleRows(f, weights)
        await compute.multiply(shift, f, x, { transposeA: true, add: true, coarse: true })
        f.free()
      }
      for (const mat of [x, weights]) mat?.free()
    }
    return { gram, ...(shift && { shift }) }
  }

  invalidate(...named: readonly Site[]): void {
    for (const site of named.length > 0 ? named : sites) {
      this.#columns.delete(site)
      for (const mats of Object.values(this.#mats)) {
        mats.get(site)?.free()
        mats.delete(site)
      }
    }
  }

  #width(site: Site): number {
    const { hiddenSize, heads, kvHeads, headDim, intermediateSize } = this.#layer.config
    return {
      qkv: hiddenSize,
      queries: heads * headDim,
      keys: kvHeads * headDim,
      values: kvHeads * headDim,
      o: heads * headDim,
      gateUp: hiddenSize,
      down: intermediateSize,
    }[site]
  }

  async #gather(entry: Wanted, m: Mat, first: number, weights: Mat | undefined): Promise<void> {
    const { compute, inputs } = this.#layer
    if (entry.columns) entry.columns.add(await compute.columnStats(m), m.rows)
    if (entry.gram) await compute.gram(entry.gram, m, weights)
    if (!entry.sample) return
    const { mat, filled } = entry.sample
    const rows: number[] = []
    for (let s = filled; s < mat.rows; s++) {
      const row = Math.floor((s * inputs.rows) / mat.rows) - first
      if (row >= m.rows) break
      rows.push(row)
    }
    if (rows.length === 0) return
    await compute.embed(compute.rowsOf(mat, filled, filled + rows.length), m, Int32Array.from(rows))
    entry.sample.filled += rows.length
  }
}

/** Runs of whole windows, of at most so many tokens, or of one window. */
export function* pieces(
  tokens: number,
  window: number,
  most: number,
): Generator<{ readonly first: number; readonly end: number }> {
  const step = Math.max(1, Math.floor(most / window)) * window
  for (let first = 0; first < tokens; first += step) yield { first, end: Math.min(tokens, first + step) }
}

/** [T, 1]: 1 over the mean square of each row. */
async function inverseMeanSquares(compute: Compute, x: Mat): Promise<Mat> {
  const squares = compute.allocate(x.rows, 1)
  await compute.rowMeanSquare(squares, x)
  const inverses = (await compute.read(squares)).map((square: number) => 1 / Math.max(square, 1e-12))
  squares.free()
  return compute.from(inverses, x.rows, 1)
}

/** The statistics of columns, of matrix after matrix. */
class ColumnSums {
  #stats: ColumnStats | undefined
  #mean = new Float64Array()
  #meanAbs = new Float64Array()
  #rows = 0

  add(stats: ColumnStats, rows: number): void {
    if (!this.#stats) {
      this.#mean = new Float64Array(stats.mean.length)
      this.#meanAbs = new Float64Array(stats.mean.length)
    }
    for (let c = 0; c < this.#mean.length; c++) {
      this.#mean[c]! += stats.mean[c]! * rows
      this.#meanAbs[c]! += stats.meanAbs[c]! * rows
    }
    this.#rows += rows
    const before = this.#stats ?? stats
    this.#stats = {
      ...stats,
      absMax: stats.absMax.map((value, c) => Math.max(value, before.absMax[c]!)),
      min: stats.min.map((value, c) => Math.min(value, before.min[c]!)),
      max: stats.max.map((value, c) => Math.max(value, before.max[c]!)),
    }
  }

  result(): ColumnStats {
    return {
      ...this.#stats!,
      mean: Float32Array.from(this.#mean, (sum) => sum / this.#rows),
      meanAbs: Float32Array.from(this.#meanAbs, (sum) => sum / this.#rows),
    }
  }
}
