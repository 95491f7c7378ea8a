import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  decodeResult,
  decodeStep,
  encodeFrame,
  encodeResult,
  encodeStep,
  FrameError,
  FrameReader,
} from '../../../serve/process/frames.ts'
import { greedy } from '../../../serve/sampling.ts'

const id = fc.integer({ min: 0, max: 2 ** 31 - 1 })
const ids = (maxLength: number) => fc.array(id, { maxLength })

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true })

const step = record({
  parts: fc.array(
    record({ ids: ids(9), position: id, isPrompt: fc.boolean(), pages: ids(5), samples: fc.boolean() }),
    { maxLength: 6 },
  ),
  unread: fc.array(record({ row: id, token: id, count: id }), { maxLength: 4 }),
  opened: fc.array(
    record({
      slot: id,
      request: record({
        prompt: ids(8),
        output: ids(4),
        endIds: ids(3),
        sampling: record({
          seed: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
          temperature: fc.double({ min: 0, max: 2, noNaN: true }),
          logitBias: fc
            .array(
              fc.tuple(id, fc.oneof(fc.double({ min: -100, max: 100, noNaN: true }), fc.constant(-Infinity))),
            )
            .map((entries) => new Map(entries)),
        }),
      }),
    }),
    { maxLength: 3 },
  ),
  slots: ids(6),
  masks: fc.array(
    record({
      slot: id,
      bits: fc
        .array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), { maxLength: 5 })
        .map((x) => Uint32Array.from(x)),
    }),
    { maxLength: 3 },
  ),
})

/** JSON tells no difference between the zeros. */
const unsigned = (value: number) => (value === 0 ? 0 : value)

test('a step comes out as it went in', () => {
  fc.assert(
    fc.property(step, (x) => {
      for (const { request } of x.opened) {
        const { sampling } = request
        Object.assign(sampling, { ...greedy, ...sampling, temperature: unsigned(sampling.temperature) })
        for (const [key, bias] of sampling.logitBias) sampling.logitBias.set(key, unsigned(bias))
      }
      assert.equal(decodeStep(encodeStep(x as never)), x as never)
    }),
    { numRuns: 500, seed: 61 },
  )
})

test('a result comes out as it went in, log-probabilities to the bit', () => {
  const float = fc.float({ noNaN: true })
  fc.assert(
    fc.property(ids(9), fc.option(fc.array(float, { minLength: 1, maxLength: 9 })), (x, floats) => {
      const logProbs = floats && {
        chosen: Float32Array.from(floats),
        topIds: Int32Array.of(-1, 5),
        top: Float32Array.of(-Infinity, -0),
        most: 2,
      }
      const result = decodeResult(encodeResult({ ids: x, logProbs: logProbs ?? undefined }))
      assert.equal(Array.from(result.ids), x)
      assert.equal(result.logProbs, logProbs ?? undefined)
    }),
    { numRuns: 300, seed: 62 },
  )
})

test('frames are put together from pieces of any length', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (payloads, lengths) => {
        const all = Buffer.concat(payloads.map((payload) => encodeFrame('result', payload)))
        const reader = new FrameReader()
        const frames: Uint8Array[] = []
        for (let at = 0, i = 0; at < all.length; i++) {
          const length = lengths[i % lengths.length]!
          for (const { payload } of reader.push(all.subarray(at, at + length)))
            frames.push(Uint8Array.from(payload))
          at += length
        }
        assert.equal(frames, payloads)
      },
    ),
    { numRuns: 500, seed: 63 },
  )
})

test('what is no frame, or cut off, is refused', () => {
  assert.throws(
    () => new FrameReader().push(Buffer.from('HTTP/1.1 200 OK')),
    (error: unknown) => error instanceof FrameError,
  )
  const whole = encodeStep({
    parts: [{ ids: [1, 2], position: 3, isPrompt: true, pages: [4], samples: true }],
    unread: [],
    opened: [],
    slots: [0],
    masks: [{ slot: 0, bits: Uint32Array.of(5) }],
  })
  for (const length of [0, 3, 4, 20, 40])
    assert.throws(() => decodeStep(whole.subarray(0, length)), /cut off|JSON/, `${length} bytes`)
})

test.run()
