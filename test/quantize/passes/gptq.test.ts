import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Mat, Values } from '../../../quantize/compute/compute.ts'
import { HostCompute } from '../../../quantize/compute/host.ts'
import { QuantizeError } from '../../../quantize/error.ts'
import type { LayerState, ProjectionName, StackName, Statistics } from '../../../quantize/layer-state.ts'
import { gptq } from '../../../quantize/passes/gptq.ts'
import { gridOf, outputError } from '../../../quantize/passes/rounding.ts'
import { rtn } from '../../../quantize/passes/rtn.ts'
import type { QuantizedFormatName } from '../../../quantize/round-to-nearest.ts'
import { randomModel } from '../../support/quantized-layers.ts'
import { rng } from '../../support/rng.ts'

const test = suite('gptq')
const compute = new HostCompute('f64')
const run = { seed: 1, record: () => {} }
/** As the statistics of the layer have it, in one go. */
const whole = { sequential: false, follow: 1 }

/** A layer whose inputs all have the Gram matrix that `grams` makes for their width. */
async function layerWith(
  seed: number,
  format: QuantizedFormatName,
  grams: (columns: number, seed: number) => Float64Array,
): Promise<LayerState> {
  const model = await randomModel(compute, { seed, format, config: { intermediateSize: 64, headDim: 8 } })
  const layer = model.layers[0]!
  const columns: Record<string, Mat> = {}
  for (const [i, name] of (['q', 'o', 'gate', 'down'] as const).entries()) {
    const k = layer.weights[name].columns
    columns[name] = compute.from(grams(k, seed * 10 + i), k, k)
  }
  const of: Record<StackName, string> = { qkv: 'q', o: 'o', gateUp: 'gate', down: 'down' }
  const statistics = { gram: async (site: StackName) => columns[of[site]]! } as unknown as Statistics
  return { ...layer, statistics }
}

/** The Gram matrix of inputs that share a few directions, and whose channels are not alike. */
function correlated(columns: number, seed: number): Float64Array {
  const { normal, uniform } = rng(seed)
  const loudness = Float64Array.from({ length: columns }, () => Math.exp(1.5 * uniform()))
  const directions = Array.from({ length: 6 }, () => Float64Array.from({ length: columns }, normal))
  const gram = new Float64Array(columns * columns)
  for (let t = 0; t < 6 * columns; t++) {
    const x = Float64Array.from({ length: columns }, normal)
    for (const direction of directions) {
      const amount = normal()
      direction.forEach((value, k) => {
        x[k]! += amount * value
      })
    }
    for (let a = 0; a < columns; a++)
      for (let b = 0; b < columns; b++) gram[a * columns + b]! += x[a]! * loudness[a]! * x[b]! * loudness[b]!
  }
  return gram
}

/** The solution of m·x = y, by elimination with pivots. */
function solve(m: readonly (readonly number[])[], y: readonly number[]): number[] {
  const n = y.length
  const a = m.map((row, i) => [...row, y[i]!])
  for (let c = 0; c < n; c++) {
    let pivot = c
    for (let r = c + 1; r < n; r++) if (Math.abs(a[r]![c]!) > Math.abs(a[pivot]![c]!)) pivot = r
    ;[a[c], a[pivot]] = [a[pivot]!, a[c]!]
    for (let r = c + 1; r < n; r++) {
      const factor = a[r]![c]! / a[c]![c]!
      for (let k = c; k <= n; k++) a[r]![k]! -= factor * a[c]![k]!
    }
  }
  const x = new Array<number>(n).fill(0)
  for (let c = n - 1; c >= 0; c--) {
    let sum = a[c]![n]!
    for (let k = c + 1; k < n; k++) sum -= a[c]![k]! * x[k]!
    x[c] = sum / a[c]![c]!
  }
  return x
}

/**
 * What GPTQ is to find, without its recursion: before a column is rounded, the columns that are left take the values that
 * make the squared error of outputs least, given the errors of all that are done. Each is a linear system of its own.
 */
async function dense(
  layer: LayerState,
  name: ProjectionName,
  order: readonly number[],
  damping: number,
): Promise<Float64Array> {
  const { rows, columns } = layer.weights[name]
  const w = await compute.read(layer.weights[name])
  const stack = ({ q: 'qkv', down: 'down' } as Record<string, StackName>)[name]!
  const h = Float64Array.from(await compute.read(await layer.statistics.gram(stack)))
  let mean = 0
  for (let k = 0; k < columns; k++) mean += h[k * columns + k]! / columns
  for (let k = 0; k < columns; k++) h[k * columns + k]! += damping * mean
  const grid = await gridOf(layer, name)
  const result = Float64Array.from(w)
  const snapped = async (values: Float64Array): Promise<Values> => {
    const mat = compute.from(values, rows, columns)
    await compute.snap(mat, mat, grid)
    return compute.read(mat)
  }
  const current = Float64Array.from(w)
  for (let step = 0; step < columns; step++) {
    const [done, left] = [order.slice(0, step), order.slice(step)]
    const system = left.map((a) => left.map((b) => h[a * columns + b]!))
    for (let n = 0; n < rows; n++) {
      const at = (k: number): number => n * columns + k
      const pull = left.map((a) =>
        done.reduce((sum, b) => sum - h[a * columns + b]! * (result[at(b)]! - w[at(b)]!), 0),
      )
      if (step > 0) current[at(left[0]!)] = w[at(left[0]!)]! + solve(system, pull)[0]!
    }
    const values = await snapped(current)
    for (let n = 0; n < rows; n++) result[n * columns + left[0]!] = values[n * columns + left[0]!]!
  }
  return result
}

for (const format of ['w4a8', 'w4a8-g32', 'w4a16-g32', 'w8a8'] as const)
  for (const order of ['plain', 'descending'] as const)
    test(`${format}, ${order} order: the same weights as linear systems solved column by column`, async () => {
      const layer = await layerWith(3, format, correlated)
      await gptq.layer!(layer, { ...whole, damping: 0.02, order, block: 8 }, run)
      const name = 'q'
      const diagonal = await compute.diagonal(await layer.statistics.gram('qkv'))
      const columns = [...diagonal.keys()]
      if (order === 'descending') columns.sort((a, b) => diagonal[b]! - diagonal[a]!)
      const expected = await dense(layer, name, columns, 0.02)
      const actual = await compute.read(layer.rounded[name]!.values)
      // Neighbours on a grid are 1e-2 and more apart; sums differ by their order.
      for (const [i, value] of expected.entries())
        assert.ok(Math.abs(actual[i]! - value) < 1e-9, `weight ${i}`)
    })

async function errors(layer: LayerState): Promise<number> {
  let sum = 0
  for (const name of Object.keys(layer.rounded) as ProjectionName[])
    sum += await outputError(layer, name, layer.rounded[name]!.values)
  return sum
}

for (const format of ['w4a8', 'w4a8-g32'] as const)
  test(`${format}: errors of outputs fall from rounding to GPTQ to the loudest columns first`, async () => {
    const sums = [0, 0, 0]
    for (let seed = 1; seed <= 3; seed++) {
      const layer = await layerWith(seed, format, correlated)
      const rounded = (): LayerState => ({ ...layer, rounded: {} })
      const options = { ...whole, damping: 0.01, block: 128 }
      const [plain, corrected, ordered] = [rounded(), rounded(), rounded()]
      await rtn.layer!(plain, {}, run)
      await gptq.layer!(corrected, { ...options, order: 'plain' }, run)
      await gptq.layer!(ordered, { ...options, order: 'descending' }, run)
      for (const [i, each] of [plain, corrected, ordered].entries()) sums[i]! += await errors(each)
    }
    assert.ok(sums[1]! < 0.7 * sums[0]!, `${sums}`)
    assert.ok(sums[2]! < 0.95 * sums[1]!, `${sums}`)
  })

test('inputs that know nothing of each other leave plain rounding', async () => {
  const identity = (columns: number): Float64Array =>
    Float64Array.from({ length: columns ** 2 }, (_, i) => (i % (columns + 1) === 0 ? 3 : 0))
  const layer = await layerWith(4, 'w4a8-g32', identity)
  const [plain, corrected] = [
    { ...layer, rounded: {} },
    { ...layer, rounded: {} },
  ] as [LayerState, LayerState]
  await rtn.layer!(plain, {}, run)
  await gptq.layer!(corrected, { ...whole, damping: 0.01, order: 'descending', block: 8 }, run)
  for (const name of ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const)
    assert.equal(
      await compute.read(corrected.rounded[name]!.values),
      await compute.read(plain.rounded[name]!.values),
    )
})

test('fewer inputs than channels take more damping, and a Hessian that is none is refused', async () => {
  const recorded: Record<string, number | string> = {}
  const record = (what: string, value: number | string): void => {
    recorded[what] = value
  }
  /** One negative direction of that part of the mean of the diagonal. */
  const indefinite = (part: number) => (columns: number) => {
    const gram = new Float64Array(columns * columns)
    for (let k = 0; k < columns; k++) gram[k * (columns + 1)] = k === 0 ? -part : 1
    return gram
  }
  const options = { ...whole, damping: 0.01, order: 'plain', block: 128 } as const
  const layer = await layerWith(5, 'w4a8', indefinite(0.05))
  await gptq.layer!(layer, options, { seed: 1, record })
  assert.is(recorded['qkv damping'], 0.1)
  const hopeless = await layerWith(5, 'w4a8', indefinite(100))
  try {
    await gptq.layer!(hopeless, options, run)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, QuantizeError)
    assert.match((error as Error).message, /qkv in layer 0 is singular .* calibrate with more text/)
  }
})

test.run()
