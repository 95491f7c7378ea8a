import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ropeFrequencies, ropeTable } from '../../models/rope.ts'

const plain = { theta: 10000, columns: 64, scaling: undefined }
const llama31 = {
  theta: 500000,
  columns: 128,
  scaling: {
    type: 'llama3',
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  },
} as const

function near(actual: number, expected: number, relative: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${what}: ${actual}, ${expected}`)
}

test('without scaling, pair i turns by theta^(−2i/D) a position', () => {
  const frequencies = ropeFrequencies(plain)
  assert.is(frequencies.length, 32)
  for (const [i, f] of frequencies.entries())
    near(f, Math.exp((-2 * i * Math.log(10000)) / 64), 2 ** -22, `pair ${i}`)
})

test('linear scaling divides every frequency by its factor', () => {
  const scaled = ropeFrequencies({ ...plain, scaling: { type: 'linear', factor: 4 } })
  for (const [i, f] of ropeFrequencies(plain).entries()) near(scaled[i]!, f / 4, 2 ** -23, `pair ${i}`)
})

/** As Llama 3.1 states it, by wavelengths: stretched, kept, or in between by how many turns the context has. */
function llama31Frequency(i: number, D: number): number {
  const frequency = 500000 ** ((-2 * i) / D)
  const wavelength = (2 * Math.PI) / frequency
  if (wavelength < 8192 / 4) return frequency
  if (wavelength > 8192 / 1) return frequency / 8
  const smooth = (8192 / wavelength - 1) / (4 - 1)
  return (1 - smooth) * (frequency / 8) + smooth * frequency
}

test('Llama 3 scaling stretches long wavelengths, keeps short ones and blends between', () => {
  const D = 128
  const frequencies = ropeFrequencies(llama31)
  const kinds = { kept: 0, stretched: 0, blended: 0 }
  frequencies.forEach((f, i) => {
    near(f, llama31Frequency(i, D), 2 ** -20, `pair ${i}`)
    const ratio = f / 500000 ** ((-2 * i) / D)
    if (ratio > 0.9999) kinds.kept++
    else if (ratio < 1.0001 / 8) kinds.stretched++
    else kinds.blended++
  })
  assert.ok(kinds.kept > 20 && kinds.stretched > 20 && kinds.blended > 2, JSON.stringify(kinds))
})

test('YaRN keeps the pairs that turn often, stretches those that turn less than once, and ramps between', () => {
  const [columns, theta, factor, original] = [128, 1_000_000, 4, 32768]
  const scaling = {
    type: 'yarn',
    factor,
    originalMaxPositions: original,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    attentionFactor: 1.25,
  } as const
  const rope = { theta, columns, scaling }
  const turns = (i: number) => (original * theta ** ((-2 * i) / columns)) / (2 * Math.PI)
  const pairs = Array.from({ length: columns / 2 }, (_, i) => i)
  // The last pair of at least 32 turns, and the first of at most one.
  const first = pairs.filter((i) => turns(i) >= 32).at(-1)!
  const last = pairs.find((i) => turns(i) <= 1)!
  ropeFrequencies(rope).forEach((f, i) => {
    const plain = theta ** ((-2 * i) / columns)
    const ramp = (i - first) / (last - first)
    const expected =
      i <= first ? plain : i >= last ? plain / factor : plain * (1 - ramp) + (plain / factor) * ramp
    near(f, expected, 2 ** -20, `pair ${i}`)
  })
  assert.ok(first > 10 && last < columns / 2 - 10 && last - first > 5)
  const table = ropeTable({ rope }, 2)
  near(table[0]!, 1.25, 2 ** -23, 'cosine of position 0')
  near(table[columns + columns / 2]!, 1.25 * Math.sin(1), 2 ** -20, 'sine of position 1')
})

test('the table holds cosines, then sines, of position times frequency', () => {
  const positions = 300
  for (const rope of [plain, llama31]) {
    const D = rope.columns
    const table = ropeTable({ rope }, positions)
    assert.is(table.length, positions * D)
    const frequencies = ropeFrequencies(rope)
    for (const position of [0, 1, 77, 299]) {
      for (let i = 0; i < D / 2; i++) {
        // The angle is rounded to f32 once: half a spacing at 299 is 2⁻¹⁶.
        const angle = position * frequencies[i]!
        const bound = 2 ** -16 + 2 ** -24
        assert.ok(Math.abs(table[position * D + i]! - Math.cos(angle)) <= bound)
        assert.ok(Math.abs(table[position * D + D / 2 + i]! - Math.sin(angle)) <= bound)
      }
    }
    assert.equal(
      table.subarray(0, D),
      Float32Array.from({ length: D }, (_, i) => (i < D / 2 ? 1 : 0)),
    )
  }
})

test.run()
