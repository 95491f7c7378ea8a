import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { columnMultiple } from '../../dsl/format.ts'
import { packedShape, type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { runCase } from '../support/run-kernel.ts'
import { dequantizeCase, randomCodes } from './cases/dequantize.ts'

const codeAt = (words: Uint32Array, bits: number, position: number): number =>
  (words[Math.floor((position * bits) / 32)]! >>> ((position * bits) % 32)) & (2 ** bits - 1)

for (const format of Object.values(weightFormats)) {
  const N = 37
  const K = 3 * columnMultiple(format)

  test(`${format.name} unpacks what it packed`, () => {
    const codes = randomCodes(format.bits, N * K, 1)
    const words = format.pack(codes, N, K)
    assert.is(
      words.length,
      packedShape(format, N, K).reduce((a, b) => a * b),
    )
    assert.equal(format.unpack(words, N, K), codes)
  })

  test(`${format.name} packs where its layout says, and pads rows with code 0`, () => {
    const codes = randomCodes(format.bits, N * K, 2)
    const words = format.pack(codes, N, K)
    const layout = format.layout(N, K)
    const mask = 2 ** format.bits - 1
    for (let n = 0; n < 48; n++) {
      for (let k = 0; k < K; k++) {
        const expected = n < N ? codes[n * K + k]! & mask : 0
        assert.is(codeAt(words, format.bits, layout(n, k)), expected, `row ${n}, column ${k}`)
      }
    }
  })

  test(`${format.name} packs a view that starts at an odd byte`, () => {
    const codes = randomCodes(format.bits, N * K, 3)
    const bytes = new Uint8Array(codes.byteLength + codes.BYTES_PER_ELEMENT)
    const Type = codes.constructor as Uint8ArrayConstructor
    const view = new Type(bytes.buffer, codes.BYTES_PER_ELEMENT, codes.length)
    view.set(codes as Uint8Array)
    assert.equal(format.pack(view, N, K), format.pack(codes, N, K))
  })

  test(`${format.name} refuses columns that do not fill a unit or a group, and a wrong count`, () => {
    assert.throws(() => format.pack(randomCodes(format.bits, 16 * 24, 4), 16, 24), /multiple of/)
    assert.throws(() => format.pack(randomCodes(format.bits, N * K - 1, 4), N, K), /expects 37/)
  })
}

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

for (const name of Object.keys(weightFormats) as WeightFormatName[]) {
  for (const zero of ['epilogue', 'register'] as const) {
    test(`${name} gives the MMA its operand on the device, zero in the ${zero}`, () =>
      runCase(device, dequantizeCase(name, zero, 5)))
  }
}

test.run()
