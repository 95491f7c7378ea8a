import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type f32, type In, kernel, type Out, threadIdx, type u32 } from '../../../dsl/index.ts'
import { log2Exact } from '../../../kernels/sampling/logarithm.ts'
import { philox, philoxReference } from '../../../kernels/sampling/philox.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = checkedEmulator()
const N = 64

const drawWords = kernel(
  import.meta.url,
  { grid: () => [1], block: [N] },
  function drawWords(a: { counter: In<u32, '64 4'>; key: In<u32, '64 2'>; out: Out<u32, '64 4'> }) {
    const i = threadIdx.x
    const counter = [0, 1, 2, 3].map((word) => a.counter.at(i, word))
    const words = philox(counter, [a.key.at(i, 0), a.key.at(i, 1)])
    words.forEach((word, j) => {
      a.out.put(word, i, j)
    })
  },
)

const logarithms = kernel(
  import.meta.url,
  { grid: () => [1], block: [N] },
  function logarithms(a: { x: In<f32, '64'>; out: Out<f32, '64'> }) {
    a.out.put(log2Exact(a.x.at(threadIdx.x)), threadIdx.x)
  },
)

test('random words are those of the paper', () => {
  const ones = 0xffffffff
  for (const [counter, key, words] of [
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[ones, ones, ones, ones], [ones, ones], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ] as const)
    assert.is(
      philoxReference(counter, key)
        .map((word) => word.toString(16).padStart(8, '0'))
        .join(' '),
      words,
    )
})

test('the device draws the same words', async () => {
  const random = rng(5)
  const words = (n: number) => Uint32Array.from({ length: n }, () => random.integer(0, 2 ** 32 - 1))
  const [counter, key] = [words(4 * N), words(2 * N)]
  const { out } = await runKernel(
    device,
    drawWords,
    {},
    {
      counter: { dtype: 'u32', shape: [N, 4], data: counter },
      key: { dtype: 'u32', shape: [N, 2], data: key },
      out: { dtype: 'u32', shape: [N, 4] },
    },
  )
  for (let i = 0; i < N; i++) {
    const expected = philoxReference([...counter.slice(4 * i, 4 * i + 4)], [...key.slice(2 * i, 2 * i + 2)])
    assert.equal([...out!.slice(4 * i, 4 * i + 4)], expected)
  }
})

test('logarithms are exact to 22 bits, next to 1 too', async () => {
  const random = rng(6)
  const x = Float32Array.from({ length: N }, (_, i) =>
    i < 20 ? 1 - 2 ** -(i + 5) : i < 24 ? 1 + 2 ** -(i - 4) : 2 ** (40 * random.normal()),
  )
  const { out } = await runKernel(
    device,
    logarithms,
    {},
    {
      x: { dtype: 'f32', shape: [N], data: x },
      out: { dtype: 'f32', shape: [N] },
    },
  )
  for (const [i, value] of out!.entries()) {
    const exact = Math.log2(x[i]!)
    assert.ok(
      Math.abs(value - exact) <= 2 ** -22 * Math.abs(exact),
      `log2(${x[i]}) is ${exact}, not ${value}`,
    )
  }
})

test.run()
