/**
 * 8. A quantization algorithm of one's own, in one file: 4-bit weights, and 8 bits for those output rows that matter most
 * in the whole model, as in MixLLM (arXiv 2412.14590). It is fake quantization: the result holds, in floats, the weights
 * that codes would stand for, to be evaluated before anybody writes a kernel.
 *
 *     npx tsx examples/8-salient-rows.ts [MODEL TOKENIZED DST]
 *
 * TOKENIZED is a JSON array of token ids to calibrate on. Without arguments: a model of random weights.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Compute,
  definePass,
  floatFormat,
  HostCompute,
  type LayerState,
  type Mat,
  type ModelConfig,
  noOptions,
  openCheckpoint,
  type ProjectionName,
  packWindows,
  projectionNames,
  quantizeCheckpoint,
  randomCheckpoint,
  stackOf,
} from 'quattuor/quantize'

/** The part of all rows that takes 8 bits. */
const SHARE = 0.1

/** What each row of each matrix costs when it takes 4 bits, by layer and matrix. */
const salience = new Map<string, Float64Array>()

/** A matrix with the nearest weights of a format, in floats. */
async function roundTo(
  { compute, weights }: LayerState,
  name: ProjectionName,
  format: 'w4a16-g32' | 'w8a8',
): Promise<Mat> {
  const values = compute.allocate(weights[name].rows, weights[name].columns)
  const grid = await compute.fitGrid(weights[name], format)
  await compute.snap(values, weights[name], grid)
  grid.free()
  return values
}

/** The mean square of each output over sampled inputs, [rows]; the weights are `m`, or their difference from it. */
async function outputSquares(compute: Compute, x: Mat, m: Mat, minus?: Mat): Promise<Float64Array> {
  const [change, y, squares] = [
    compute.allocate(m.rows, m.columns),
    compute.allocate(m.rows, x.rows),
    compute.allocate(m.rows, 1),
  ]
  await compute.copy(change, m)
  if (minus) await compute.add(change, minus, -1)
  await compute.multiply(y, change, x, { transposeB: true })
  await compute.rowMeanSquare(squares, y)
  const values = Float64Array.from(await compute.read(squares))
  for (const mat of [change, y, squares]) mat.free()
  return values
}

const mean = (values: Float64Array): number => values.reduce((a, b) => a + b, 0) / values.length

/**
 * The salience of a row is the error of its output relative to the outputs of the matrix: MixLLM's, with the matrix's own
 * scale in the place of a gradient. It is global: rows of all matrices of all layers are compared.
 */
const measure = definePass({
  name: 'measure-rows',
  about: 'notes what each row costs at 4 bits',
  options: noOptions,
  async layer(layer) {
    const { compute, weights, statistics } = layer
    for (const name of projectionNames) {
      const x = await statistics.sample(stackOf(name))
      const rounded = await roundTo(layer, name, 'w4a16-g32')
      const energy = mean(await outputSquares(compute, x, weights[name]))
      const errors = await outputSquares(compute, x, rounded, weights[name])
      salience.set(
        `${layer.index} ${name}`,
        errors.map((error) => error / energy),
      )
      rounded.free()
    }
  },
})

/** Rounds every matrix: rows at or above the salience that leaves `SHARE` of all to 8 bits, the others to 4. */
const round = definePass({
  name: 'round-rows',
  about: 'rounds the rows that matter most in the whole model to 8 bits, the others to 4',
  options: noOptions,
  async layer(layer) {
    const { compute, weights } = layer
    const all = Float64Array.from([...salience.values()].flatMap((rows) => [...rows])).sort()
    const least = all[all.length - Math.floor(SHARE * all.length)]!
    for (const name of projectionNames) {
      const chosen = salience.get(`${layer.index} ${name}`)!.map((value) => (value >= least ? 1 : 0))
      const [coarse, fine] = [await roundTo(layer, name, 'w4a16-g32'), await roundTo(layer, name, 'w8a8')]
      const keep = (m: Mat, rows: Float64Array) => compute.scaleRows(m, compute.from(rows, rows.length, 1))
      await keep(fine, chosen)
      await keep(
        coarse,
        chosen.map((one) => 1 - one),
      )
      await compute.add(fine, coarse)
      await compute.copy(weights[name], fine)
      for (const mat of [coarse, fine]) mat.free()
    }
  },
})

const config: ModelConfig = {
  ...{ architecture: 'LlamaForCausalLM', hiddenSize: 256, layers: 2, heads: 4, kvHeads: 2, headDim: 64 },
  ...{ intermediateSize: 640, vocabSize: 200, normEpsilon: 1e-5, tieEmbeddings: false, attentionBias: false },
  rope: { theta: 10000, columns: 64, scaling: undefined },
  ...{ headNorm: false, maxPositions: 512, windows: [undefined, undefined], bosId: undefined, eosIds: [1] },
}

const [folder, tokens, target] = process.argv.slice(2)
const scratch = mkdtempSync(join(tmpdir(), 'salient-rows-'))
const source = folder ? openCheckpoint(folder) : randomCheckpoint(config, floatFormat('bf16'))
const text = tokens
  ? JSON.parse(readFileSync(tokens, 'utf8'))
  : Array.from({ length: 256 }, (_, i) => (i * i) % 199)
const calibration = packWindows([text], { windows: Math.min(16, text.length >> 7), window: 128, seed: 0 })
const options = { producer: 'examples/8', compute: new HostCompute(), calibration }

// Two sweeps, since the second needs what the first learns of the last layer. A pass is a step of a recipe.
const run = (pass: typeof measure, dst: string) =>
  quantizeCheckpoint(dst, source, { name: pass.name, weights: 'f32', kv: 16, passes: [{ pass }] }, options)
await run(measure, join(scratch, 'first'))
await run(round, target ?? join(scratch, 'second'))

const rows = [...salience.values()].flatMap((values) => [...values]).sort((a, b) => b - a)
const count = Math.floor(SHARE * rows.length)
const rootMeanSquare = (errors: readonly number[]): string =>
  Math.sqrt(errors.reduce((a, b) => a + b, 0) / rows.length).toFixed(3)
console.log(
  `of ${rows.length} rows the ${count} that matter most take 8 bits: ` +
    `outputs err by ${rootMeanSquare(rows.slice(count))} instead of ${rootMeanSquare(rows)}`,
)
rmSync(scratch, { recursive: true })
