import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { matrixFacts } from '../../quantize/inspect.ts'
import { rng } from '../support/rng.ts'
import { roundToNearest } from '../support/round-to-nearest.ts'

const { normal } = rng(51)
const [rows, columns] = [8, 256]
const matrix = { name: 'w', rows, columns, values: Float32Array.from({ length: rows * columns }, normal) }

for (const format of ['w4a8', 'w4a8-g64', 'w4a16-g32', 'w8a8'] as const)
  test(`${format}: what rounding makes is counted code by code, and sound`, () => {
    const quantized = roundToNearest(matrix, format)
    const facts = matrixFacts(quantized)
    assert.equal(facts.faults, [])
    const offset = format === 'w8a8' ? 128 : 0
    facts.histogram.forEach((count, i) => {
      assert.is(count, [...quantized.codes].filter((code) => code === i - offset).length)
    })
    assert.is(facts.twoLevel !== undefined, format === 'w4a8-g64')
  })

test('what would leave the signed byte is a fault, and so are scales that no quantizer writes', () => {
  const sound = roundToNearest(matrix, 'w4a8-g64')
  const faults = (changes: object): string => matrixFacts({ ...sound, ...changes }).faults.join()
  const { groupMin, groupScale, codes } = sound
  const group = codes.subarray(0, 64)
  // 15 · 16 − 113 is the last that fits.
  const set = (min: number) => ({
    codes: Uint8Array.from(codes, (code, i) => (i === 3 ? 15 : code)),
    groupScale: Uint8Array.from(groupScale!, (scale, g) => (g === 0 ? 16 : scale)),
    groupMin: Int8Array.from(groupMin!, (value, g) => (g === 0 ? min : value)),
  })
  assert.ok(group.length === 64)
  assert.is(faults(set(-113)), '')
  assert.match(faults(set(-112)), 'to 128, which leaves the signed byte')
  assert.match(faults({ groupScale: groupScale!.map(() => 0) }), 'group scales lie from 0 to 0')
  assert.match(faults({ scale: sound.scale.map(() => 0x7c00) }), 'must be positive and finite')
  assert.match(
    matrixFacts({ ...roundToNearest(matrix, 'w4a8'), zero: new Uint8Array(rows).fill(16) }).faults.join(),
    'a zero point is 16',
  )
})

test.run()
