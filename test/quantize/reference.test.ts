import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { activationTypeOf } from '../../models/weights.ts'
import type { Calibration } from '../../quantize/calibration.ts'
import { HostCompute } from '../../quantize/compute/host.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import { checkRecipe, type Recipe } from '../../quantize/recipe.ts'
import { referenceLogits, referencePerplexity } from '../../quantize/reference.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { perplexity } from '../../serve/perplexity.ts'
import { loadForTest, logitsOf } from '../support/generate.ts'
import { LlamaReference } from '../support/llama-reference.ts'
import { type RandomLlamaOptions, writeRandomLlama } from '../support/random-llama.ts'
import { rng } from '../support/rng.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-reference-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

const recipe = (fields: Partial<Recipe>): Recipe =>
  checkRecipe({ name: 'test', weights: 'w4a8-g64', kv: 4, passes: [{ pass: 'rtn' }], ...fields }, 'test')
const keyPasses = [
  { pass: 'center-keys' },
  { pass: 'hadamard-keys' },
  { pass: 'clip', steps: 4 },
  { pass: 'gptq' },
]

const cases: readonly (readonly [string, RandomLlamaOptions, Recipe])[] = [
  [
    'biases, one scale to a row',
    { seed: 2, dtype: 'f16', architecture: 'Qwen2ForCausalLM' },
    recipe({ weights: 'w4a8' }),
  ],
  ['centred Hadamard keys, GPTQ', { seed: 5, dtype: 'bf16' }, recipe({ passes: keyPasses })],
  [
    'floats beside a cache of 4 bits',
    { seed: 7, dtype: 'bf16' },
    recipe({ weights: 'f32', passes: keyPasses.slice(0, 2) }),
  ],
  [
    'a quantized head, products in formats of their own, a sliding window',
    {
      ...{ seed: 6, dtype: 'f16', architecture: 'Qwen2ForCausalLM' },
      config: { use_sliding_window: true, sliding_window: 7, max_window_layers: 1 },
    },
    recipe({
      head: 'w8a8',
      exceptions: [
        { products: ['down'], weights: 'w8a8' },
        { layers: [1], products: ['qkv', 'o'], weights: 'w4a8' },
      ],
    }),
  ],
]

const window = 20
const calibration = (seed: number): Calibration => {
  const { integer } = rng(seed)
  return { ids: Int32Array.from({ length: 4 * window }, () => integer(0, 299)), window }
}

/** Root mean square of the difference over that of the expected values. */
function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [difference, magnitude] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2
    magnitude += expected[i]! ** 2
  }
  return Math.sqrt(difference / magnitude)
}

async function quantized(name: string, options: RandomLlamaOptions, by: Recipe): Promise<string> {
  const plain = await writeRandomLlama(join(root, `${name} plain`), options)
  const src = openCheckpoint(plain)
  await quantizeCheckpoint(join(root, name), src, by, {
    producer: 'p',
    calibration: calibration(options.seed),
  })
  src.close()
  return join(root, name)
}

const device = openEmulator()

for (const [name, options, by] of cases)
  test(`${name}: the quantizer's forward pass of the result is a plain one in float64, and the kernels' but for rounding`, async () => {
    const folder = await quantized(name, options, by)
    const ids = calibration(100 + options.seed).ids.slice(0, window)
    const checkpoint = openCheckpoint(folder)
    const compute = new HostCompute('f64')
    const logits = await compute.read(await referenceLogits(compute, checkpoint, ids, window))
    const stored = activationTypeOf(checkpoint)
    const mirrored = await compute.read(
      await referenceLogits(new HostCompute(), checkpoint, ids, window, { stored }),
    )
    checkpoint.close()

    const part = [...ids]
    const model = await loadForTest(device, folder, { sequences: 1, context: 64, tokens: window })
    const ofKernels = (await logitsOf(model, part)).flatMap((row) => [...row])
    const error = relativeError(ofKernels, logits)
    const ofRest = relativeError(ofKernels, mirrored)
    model.free()
    const plain = new LlamaReference(folder)
    const flat = (rows: readonly Float64Array[]) => rows.flatMap((row) => [...row])
    const exact = relativeError(logits, flat(plain.forward(part)))
    const rounding = relativeError(flat(plain.forward(part, stored)), logits)
    plain.close()
    // The two differ in angles, of f32 here, which now and then turn a value over the border between two codes.
    assert.ok(exact < 0.35 * rounding, `float64 ${exact}, rounding ${rounding}`)
    // What rounding activations to the engine's 16 bits does to the logits bounds what the kernels do.
    assert.ok(error <= 1.25 * rounding, `kernels ${error}, rounding ${rounding}`)
    // With that in the reference, sums in another order are left, and probabilities as f16: they turn few codes.
    const first = relativeError(ofKernels.slice(0, 300), mirrored.subarray(0, 300))
    // Nothing is turned yet: what is left is the rounding of the logits to f16. But a head of codes has them behind all layers:
    // n of its 256 that are turned, some 36 in size each, move the logits by √n / (36 · √256); 16 of them are allowed. And
    // roundings to bf16, sixteen times as coarse, are turned themselves.
    const most = stored === 'bf16' ? 0.5 * rounding : by.head ? 7e-3 : 3e-4
    assert.ok(first < most, `logits of the first token are ${first} apart`)
    assert.ok(ofRest < 0.9 * error, `kernels ${error} from exact activations, ${ofRest} from rounded ones`)
  })

// Of 80 tokens and random weights; a real text of many tokens gives three digits.
test('perplexity is that of the kernels to two digits', async () => {
  const folder = join(root, cases[1]![0])
  const checkpoint = openCheckpoint(folder)
  const { ids } = calibration(8)
  const scored = Int32Array.from([...ids, 5])
  const expected = await referencePerplexity(new HostCompute(), checkpoint, scored, window)
  const model = await loadForTest(device, folder, { sequences: 1, context: 64, tokens: window })
  const actual = await perplexity(model, [...scored], window)
  assert.is(actual.tokens, expected.tokens)
  assert.ok(
    Math.abs(actual.perplexity / expected.perplexity - 1) < 1e-2,
    `${actual.perplexity} ${expected.perplexity}`,
  )
  model.free()
  checkpoint.close()
})

test.after(() => device.close())
test.run()
