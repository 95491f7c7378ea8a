import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { columnMultiple, packedShape, unitRows, type WeightFormat } from '../../dsl/format.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { rng } from '../support/rng.ts'
import { runCase } from '../support/run-kernel.ts'
import { dequantizeCase, randomWeights } from './cases/dequantize.ts'

const codeAt = (word: number, bits: number, position: number): number =>
  (word >>> ((position * bits) % 32)) & (2 ** bits - 1)

for (const name of Object.keys(weightFormats) as WeightFormatName[]) {
  const format: WeightFormat = weightFormats[name]
  const N = 101
  const K = 256 + columnMultiple(format)

  test(`${name} is registered under its name, and its fields agree`, () => {
    assert.is(format.name, name)
    assert.is(format.loads * 16, format.bits * 8)
    assert.is(format.steps, format.activations.some((x) => x === 'f16' || x === 'bf16') ? 8 : 4)
    assert.is(format.groupWords > 0, format.group > 0)
  })

  test(`${name} unpacks what it packed`, () => {
    const weights = randomWeights(format, N, K, rng(1))
    const words = format.pack(weights, N, K)
    assert.is(
      words.length,
      packedShape(format, N, K).reduce((a, b) => a * b),
    )
    assert.equal(format.unpack(words, N, K), weights)
  })

  test(`${name} packs where its layout says, and pads rows and columns with code 0`, () => {
    const { codes } = randomWeights(format, N, K, rng(2))
    const words = format.pack({ ...randomWeights(format, N, K, rng(2)), codes }, N, K)
    const layout = format.layout(N, K)
    const [strips, units] = packedShape(format, N, K)
    const plain = format.plain ?? ((word: number) => word)
    const mask = 2 ** format.bits - 1
    for (let n = 0; n < strips * unitRows; n++) {
      for (let k = 0; k < units * 128; k++) {
        const position = layout(n, k)
        const word = plain(words[Math.floor((position * format.bits) / 32)]!)
        const expected = n < N && k < K ? codes[n * K + k]! & mask : 0
        if (codeAt(word, format.bits, position) !== expected) assert.unreachable(`row ${n}, column ${k}`)
      }
    }
  })

  test(`${name} packs a view that starts at an odd byte`, () => {
    const weights = randomWeights(format, N, K, rng(3))
    const { codes } = weights
    const bytes = new Uint8Array(codes.byteLength + codes.BYTES_PER_ELEMENT)
    const Type = codes.constructor as Uint8ArrayConstructor
    const view = new Type(bytes.buffer, codes.BYTES_PER_ELEMENT, codes.length)
    view.set(codes as Uint8Array)
    assert.equal(format.pack({ ...weights, codes: view }, N, K), format.pack(weights, N, K))
  })

  test(`${name} refuses columns that do not fill a copy or a group, and a wrong count`, () => {
    const odd = randomWeights(format, 64, 8 * columnMultiple(format), rng(4))
    assert.throws(() => format.pack(odd, 64, 8 * columnMultiple(format) + 8), /multiple of .*pad the weights/)
    const weights = randomWeights(format, N, K, rng(4))
    const codes = weights.codes.subarray(1)
    assert.throws(() => format.pack({ ...weights, codes }, N, K), new RegExp(`expects ${N} × ${K}`))
  })
}

test('w4a8 with groups refuses parameters whose weights leave a byte, unless they wrap', () => {
  const [N, K] = [16, 128]
  const codes = new Uint8Array(N * K).fill(3)
  const groupScale = new Uint8Array(N).fill(16)
  const groupMin = new Int8Array(N).fill(-113)
  const format = weightFormats['w4a8-g128']
  format.pack({ codes, groupScale, groupMin }, N, K)
  // The largest code that the group has decides, not the largest there is.
  groupMin[5] = -112
  format.pack({ codes, groupScale, groupMin }, N, K)
  codes[5 * K + 7] = 15
  format.pack({ codes, groupScale, groupMin, wraps: true }, N, K)
  assert.throws(
    () => format.pack({ codes, groupScale, groupMin }, N, K),
    /scale 16 and minimum -112, whose largest weight is no signed byte/,
  )
  groupScale[3] = 18
  assert.throws(() => format.pack({ codes, groupScale, groupMin, wraps: true }, N, K), /scale 18/)
})

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

for (const name of Object.keys(weightFormats) as WeightFormatName[]) {
  const format: WeightFormat = weightFormats[name]
  for (const x of format.activations) {
    for (const zero of ['epilogue', 'register'] as const) {
      const c = dequantizeCase(name, zero, x, 5)
      test(`gives the MMA its operand on the device: ${c.name}`, () => runCase(device, c))
    }
  }
}

test.run()
