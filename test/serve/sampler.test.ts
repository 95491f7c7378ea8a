import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { adjustReference } from '../../kernels/sampling/reference.ts'
import { neutral } from '../../kernels/sampling/settings.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { Sampler } from '../../serve/sampler.ts'
import { checkSampling, greedy, type Sampling, SamplingError } from '../../serve/sampling.ts'
import { coarseLogits } from '../kernels/cases/logits.ts'
import { rng } from '../support/rng.ts'

const device = openEmulator()
test.after(() => device.close())
const V = 300
const random = rng(12)
const slots = 5
const rows = 4
const logits = Tensor.allocate(device, 'f32', [rows, V])
const sampler = await Sampler.create(device, logits, { slots, biases: 4 })

const upload = (): Float32Array[] => {
  const each = Array.from({ length: rows }, () => coarseLogits(random, V))
  each.forEach((values, row) => {
    logits.at(row).write(values)
  })
  return each
}
const argmax = (values: Float32Array) => values.indexOf(values.reduce((a, b) => Math.max(a, b)))

test('penalties follow a request from its prompt on, across steps, slots and rows, without an upload', async () => {
  const sampling: Sampling = {
    ...greedy,
    repetitionPenalty: 1.5,
    presencePenalty: 0.5,
    frequencyPenalty: 2,
    logitBias: new Map([[9, 8]]),
  }
  const requests = [4, 0, 2].map((slot) => ({
    slot,
    prompt: Array.from({ length: 20 }, () => random.integer(0, V - 1)),
    output: slot === 2 ? [5, 5, 9] : [],
  }))
  for (const { slot, prompt, output } of requests) sampler.open(slot, { sampling, prompt, output })
  const outputs = requests.map(({ output }) => [...output])
  for (let step = 0; step < 5; step++) {
    const each = upload()
    // The order of the rows changes, and one of them is padding.
    const order = step % 2 === 0 ? [0, 1, 2] : [2, 0, 1]
    const ids = await sampler.choose([...order.map((i) => requests[i]!.slot), -1])
    order.forEach((i, row) => {
      const biases = [{ id: 9, value: 8, until: Number.POSITIVE_INFINITY }]
      const context = { prompt: requests[i]!.prompt, output: outputs[i]!, biases }
      const expected = argmax(adjustReference(each[row]!, sampling, context))
      assert.is(ids[row], expected, `step ${step}, request ${i}`)
      outputs[i]!.push(expected)
    })
  }
  assert.ok(outputs.flat().filter((id) => id === 9).length > 3, 'what is biased comes often')
  const last = (await sampler.lastIds.read()) as Int32Array
  requests.forEach(({ slot }, i) => {
    assert.is(last[slot], outputs[i]!.at(-1))
  })
})

test('a slot forgets its last request', async () => {
  sampler.open(0, { sampling: { ...greedy, repetitionPenalty: 100 }, prompt: [...Array(V).keys()] })
  sampler.allow(0, new Uint32Array(10).fill(1))
  sampler.open(0, { sampling: { ...greedy, presencePenalty: 1 }, prompt: [7] })
  const each = upload()
  assert.is((await sampler.choose([0]))[0], argmax(each[0]!))
})

test('end tokens are held back for as long as asked, and a bitmask until it is taken away', async () => {
  sampler.open(1, { sampling: { ...greedy, minTokens: 2 }, prompt: [1], endIds: [3, 4] })
  sampler.open(3, { sampling: greedy, prompt: [1] })
  const mask = new Uint32Array(10)
  mask[1] = 0b1000
  sampler.allow(3, mask)
  const drawn: number[] = []
  for (let step = 0; step < 3; step++) {
    const values = new Float32Array(V).fill(-1)
    values[3] = 9
    values[8] = 8
    for (const row of [0, 1]) logits.at(row).write(values)
    if (step === 2) sampler.allow(3, undefined)
    drawn.push(...(await sampler.choose([1, 3])))
  }
  assert.equal(drawn, [8, 35, 8, 35, 3, 3])
})

test('log-probabilities are reported for those who ask', async () => {
  sampler.open(0, { sampling: { ...greedy, topLogProbs: 2 }, prompt: [1] })
  sampler.open(1, { sampling: greedy, prompt: [1] })
  const values = new Float32Array(V).fill(Number.NEGATIVE_INFINITY)
  values[20] = Math.log(3)
  values[10] = 0
  for (const row of [0, 1]) logits.at(row).write(values)
  sampler.assign([1])
  assert.not(sampler.reports)
  assert.equal([...(await sampler.choose([1, 0]))], [20, 20])
  const chosen = (await sampler.logProbs.chosen.read()) as Float32Array
  assert.ok(Math.abs(chosen[1]! - Math.log(0.75)) < 1e-6)
  assert.is(chosen[0], 0, 'nobody asked')
  const topIds = (await sampler.logProbs.topIds.read()) as Int32Array
  assert.equal([...topIds.slice(20, 23)], [20, 10, 0])
})

test('settings that make no sense are refused in a sentence that says what would', () => {
  for (const [sampling, sentence] of [
    [{ temperature: -1 }, 'temperature is -1; give a number from 0 to 100'],
    [{ topK: 1.5 }, 'topK is 1.5; give a whole number from 0 to 2147483647'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty is 0; give a number from 0.01 to 100'],
    [{ topP: Number.NaN }, 'topP is NaN; give a number from 0 to 1'],
    [{ topLogProbs: 21 }, 'topLogProbs is 21; give a whole number from 0 to 20'],
    [{ logitBias: new Map([[V, 1]]) }, 'logitBias names token 300, which is not in the vocabulary of 300'],
    [{ logitBias: new Map([[2, Number.NaN]]) }, 'logitBias of token 2 is NaN'],
  ] as const)
    assert.throws(
      () => checkSampling({ ...neutral, ...sampling }, V),
      (error: unknown) => error instanceof SamplingError && error.message.startsWith(sentence),
    )
  const many = new Map([1, 2, 3, 4, 5].map((id) => [id, 1]))
  assert.throws(
    () => sampler.open(0, { sampling: { ...greedy, logitBias: many }, prompt: [1] }),
    /room for 4/,
  )
  const fresh = new Uint32Array(3)
  assert.throws(() => sampler.allow(0, fresh), /bitmask has 3 words, and the vocabulary takes 10/)
})

test.run()
