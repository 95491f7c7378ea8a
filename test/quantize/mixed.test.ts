import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { HostCompute } from '../../quantize/compute/host.ts'
import { QuantizeError } from '../../quantize/error.ts'
import type { StackName } from '../../quantize/layer-state.ts'
import { bitsPerWeight, mixFormats } from '../../quantize/mixed.ts'
import { productFormat, recipeNamed } from '../../quantize/recipe.ts'
import type { QuantizedFormatName } from '../../quantize/round-to-nearest.ts'
import { measureSensitivities, type Sensitivity } from '../../quantize/sensitivity.ts'
import { writeRandomLlama } from '../support/random-llama.ts'
import { rng } from '../support/rng.ts'

const test = suite('mixed formats')
const products: readonly StackName[] = ['qkv', 'o', 'gateUp', 'down']
const formats = ['w4a8', 'w4a8-g32', 'w8a8'] as const satisfies readonly QuantizedFormatName[]

const recipe = { ...recipeNamed('rtn'), weights: 'w4a8' as const }

/** Errors that fall with the bits, another scale for each product. */
function drawn(seed: number): Sensitivity[] {
  const { uniform } = rng(seed)
  return [0, 1, 2].flatMap((layer) =>
    products.flatMap((product) => {
      const scale = Math.exp(6 * uniform())
      const [rows, columns] = product === 'down' ? [128, 512] : [256, 128]
      return formats.map((format, i) => ({
        layer,
        product,
        format,
        rows,
        columns,
        error: scale * [1, 0.6, 0.01][i]!,
      }))
    }),
  )
}

const weightsOf = (all: readonly Sensitivity[]): number =>
  all.filter(({ format }) => format === 'w8a8').reduce((sum, { rows, columns }) => sum + rows * columns, 0)

test('formats keep to the budget, errors fall as it grows, and what errs most is made finer first', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const sensitivities = drawn(seed)
    let before = Number.POSITIVE_INFINITY
    for (const budget of [4.3, 4.5, 5, 6, 9]) {
      const { recipe: mixed, bits, error } = mixFormats(recipe, sensitivities, budget)
      let [size, sum] = [0, 0]
      for (const { layer, product, format, rows, columns, error: own } of sensitivities)
        if (productFormat(mixed, layer, product) === format) {
          size += rows * columns * bitsPerWeight(format, columns)
          sum += own
        }
      assert.ok(Math.abs(size / weightsOf(sensitivities) - bits) < 1e-9)
      assert.ok(Math.abs(sum - error) < 1e-9)
      assert.ok(bits <= budget)
      assert.ok(error <= before)
      before = error
    }
    const all = mixFormats(recipe, sensitivities, 9)
    for (const layer of [0, 1, 2])
      for (const product of products) assert.is(productFormat(all.recipe, layer, product), 'w8a8')
    const worst = sensitivities
      .filter(({ format, product }) => format === 'w4a8' && product !== 'down')
      .sort((a, b) => b.error - a.error)[0]!
    const { recipe: some } = mixFormats(recipe, sensitivities, 5)
    if (some.exceptions!.some(({ weights, products: [of] }) => weights === 'w8a8' && of !== 'down'))
      assert.is(productFormat(some, worst.layer, worst.product), 'w8a8')
  }
})

test('a budget below the smallest formats is refused', () => {
  assert.throws(
    () => mixFormats(recipe, drawn(1), 4),
    (error: Error) =>
      error instanceof QuantizeError && /4 bits a weight are too few .* raise/.test(error.message),
  )
})

test('sensitivities are those of one product at a time, and fall with finer formats', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-mixed-'))
  try {
    await writeRandomLlama(folder, { seed: 3, dtype: 'bf16' })
    const src = openCheckpoint(folder)
    const { integer } = rng(4)
    const ids = Int32Array.from({ length: 24 }, () => integer(0, src.config.vocabSize - 1))
    const found = await measureSensitivities(new HostCompute(), src, { ids, window: 12 }, formats)
    assert.is(found.length, src.config.layers * products.length * formats.length)
    const errorOf = (layer: number, product: StackName, format: QuantizedFormatName): number =>
      found.find((each) => each.layer === layer && each.product === product && each.format === format)!.error
    for (let layer = 0; layer < src.config.layers; layer++)
      for (const product of products) {
        const [row, group, byte] = formats.map((format) => errorOf(layer, product, format)) as [
          number,
          number,
          number,
        ]
        // The step of 8 bits is a sixteenth of that of 4, which is 1/256 of the squares.
        assert.ok(
          byte < 0.05 * row && byte < 0.05 * group && byte > 0,
          `${layer} ${product} ${row} ${group} ${byte}`,
        )
        assert.ok(group < row, `${layer} ${product} ${row} ${group}`)
      }
    src.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
