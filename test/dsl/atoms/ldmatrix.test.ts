import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ldmatrix, mma } from '../../../dsl/atoms/index.ts'
import { rng } from '../../support/rng.ts'

const lanes = Array.from({ length: 32 }, (_, i) => i)

test('a lane gets two neighbours of row lane / 4, or of that column when transposed', () => {
  for (const lane of lanes) {
    for (const half of [0, 1]) {
      const [row, column] = [lane >> 2, 2 * (lane % 4) + half]
      assert.is(ldmatrix.fragment(lane, half), row + 8 * column)
      assert.is(ldmatrix.transposed(lane, half), column + 8 * row)
    }
  }
})

test('row r of matrix i is where lane 8i + r points', () => {
  for (let i = 0; i < 4; i++) for (let r = 0; r < 8; r++) assert.is(ldmatrix.addressLane(r, i), 8 * i + r)
})

/** The four registers, as bytes, that ldmatrix.x4 gives each lane of a row-major tile of 16 rows of 32 bytes. */
function loadTile(tile: Uint8Array, address: (lane: number) => number): number[][] {
  const row = (matrix: number, r: number) => address(ldmatrix.addressLane(r, matrix))
  return lanes.map((lane) =>
    [0, 1, 2, 3].flatMap((matrix) =>
      [0, 1].flatMap((half) => {
        const element = ldmatrix.fragment(lane, half)
        const start = row(matrix, element % 8) + 2 * Math.floor(element / 8)
        return [tile[start]!, tile[start + 1]!]
      }),
    ),
  )
}

test('ldmatrix.x4 of a byte tile gives the A fragment of m16n8k32, rows before columns', () => {
  const random = rng(7)
  const tile = Uint8Array.from({ length: 16 * 32 }, () => random.integer(0, 255))
  const registers = loadTile(tile, (lane) => 32 * (lane % 16) + 16 * (lane >> 4))
  const { layout } = mma.m16n8k32.s8s8.a
  for (const lane of lanes) {
    for (let i = 0; i < 16; i++) {
      const element = layout(lane, i)
      assert.is(registers[lane]![i], tile[32 * (element % 16) + Math.floor(element / 16)])
    }
  }
})

test('ldmatrix.x4 of a 16-bit tile gives the A fragment of m16n8k16', () => {
  const random = rng(8)
  const tile = Uint8Array.from({ length: 16 * 32 }, () => random.integer(0, 255))
  const registers = loadTile(tile, (lane) => 32 * (lane % 16) + 16 * (lane >> 4))
  const { layout } = mma.m16n8k16.f16.a
  for (const lane of lanes) {
    for (let i = 0; i < 8; i++) {
      const element = layout(lane, i)
      const start = 32 * (element % 16) + 2 * Math.floor(element / 16)
      assert.equal(registers[lane]!.slice(2 * i, 2 * i + 2), [tile[start], tile[start + 1]])
    }
  }
})

test.run()
