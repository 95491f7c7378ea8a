import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { stepOf } from '../../models/step.ts'
import { StepInputs } from '../../models/step-inputs.ts'
import type { Device, Event } from '../../runtime/device.ts'
import { hostDevice } from '../support/host-device.ts'
import { rng } from '../support/rng.ts'

const limits = { tokens: 40, sequences: 6, pagesPerSequence: 3, logitRows: 6 }

/** A step of random sequences within the limits. */
function randomStep(seed: number) {
  const random = rng(seed)
  const parts = Array.from({ length: random.integer(1, 6) }, () => {
    const count = random.integer(1, 6)
    const position = random.integer(0, 180 - count)
    return {
      ids: Array.from({ length: count }, () => random.integer(0, 999)),
      position,
      isPrompt: random.integer(0, 1) === 1,
      pages: Array.from({ length: Math.ceil((position + count) / 64) }, () => random.integer(0, 99)),
      logits: random.integer(0, 1),
    }
  })
  return stepOf(parts, limits.pagesPerSequence)
}

test('every part is where its tensor is, whatever the step before was, and rows without a sequence are empty', async () => {
  const device = hostDevice('host', 1 << 16)
  const inputs = new StepInputs(device, limits, limits.sequences)
  const { ids, positions, slots, queryStart, context, prompts, logitRows, pages } = inputs.tensors
  for (const tensor of Object.values(inputs.tensors)) assert.is(tensor.address % 256, 0)
  for (let seed = 1; seed <= 50; seed++) {
    const step = randomStep(seed)
    inputs.upload(step, step)
    const [tokens, sequences] = [step.ids.length, step.context.length]
    const read = async (tensor: typeof ids, count: number) => [...(await tensor.read())].slice(0, count)
    assert.equal(await read(ids, tokens), [...step.ids])
    assert.equal(await read(positions, tokens), [...step.positions])
    assert.equal(await read(slots, tokens), [...step.slots])
    assert.equal(await read(logitRows, step.logitRows.length), [...step.logitRows])
    assert.equal(await read(pages, sequences * 3), [...step.pages])
    assert.equal(await read(context, 6), [...step.context, ...Array(6 - sequences).fill(0)])
    assert.equal(await read(prompts, 6), [...step.prompts, ...Array(6 - sequences).fill(0)])
    assert.equal(await read(queryStart, 7), [...step.queryStart, ...Array(6 - sequences).fill(tokens)])
  }
})

test('an image whose copy is under way is not written again', () => {
  const events: { done: boolean }[] = []
  const images = new Set<ArrayBufferLike>()
  const inner = hostDevice('host', 1 << 16)
  const device: Device = {
    ...inner,
    createEvent: () => {
      const event = {
        ...inner.createEvent(),
        done: true,
        record: () => Object.assign(event, { done: false }),
      }
      events.push(event)
      return event as unknown as Event
    },
    write(dst, src) {
      images.add(src.buffer)
      inner.write(dst, src)
    },
  }
  const inputs = new StepInputs(device, limits, limits.sequences)
  for (let seed = 1; seed <= 3; seed++) inputs.upload(randomStep(seed), randomStep(seed))
  assert.is(images.size, 3)
  events[1]!.done = true
  for (let seed = 4; seed <= 5; seed++) {
    inputs.upload(randomStep(seed), randomStep(seed))
    events[1]!.done = true
  }
  assert.is(images.size, 3, 'the image that was free is taken again')
})

test.run()
