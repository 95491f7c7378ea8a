import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { MmaAtom } from '../../../dsl/atoms/index.ts'
import { fragmentOrder, mma } from '../../../dsl/atoms/index.ts'
import { layout, leftInverse, offsetTables } from '../../../dsl/layout/index.ts'
import { refusal } from '../../support/layouts.ts'
import { rng } from '../../support/rng.ts'

const u8s8 = mma.m16n8k32.u8s8
const f16 = mma.m16n8k16.f16

/** Row and column of element e of register r in the A fragment, from the PTX manual. */
function manualA(atom: MmaAtom, lane: number, r: number, e: number): [row: number, k: number] {
  const perRegister = atom.k / 8
  return [(lane >> 2) + 8 * (r & 1), (lane % 4) * perRegister + e + (atom.k / 2) * (r >> 1)]
}

/** Codes written to their positions, as the bytes of the packed file. */
function pack(
  codes: Uint16Array,
  rows: number,
  columns: number,
  bits: number,
  order: ReturnType<typeof layout>,
) {
  const [byRow, byColumn] = offsetTables(order)
  const words = new Uint32Array((rows * columns * bits) / 32)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const bit = (byRow![row]! + byColumn![column]!) * bits
      words[bit >> 5]! |= codes[row * columns + column]! << (bit & 31)
    }
  }
  return words
}

const cases = [
  { atom: u8s8, bits: 4, mask: 0x0f0f0f0f },
  { atom: u8s8, bits: 8, mask: 0xffffffff },
  { atom: f16, bits: 4, mask: 0x000f000f },
  { atom: f16, bits: 8, mask: 0x00ff00ff },
  { atom: f16, bits: 16, mask: 0xffffffff },
]

for (const { atom, bits, mask } of cases) {
  for (const strip of [16, 64]) {
    test(`a 16-byte load of ${bits}-bit codes is a lane's A fragment of ${atom.name}, strips of ${strip}`, () => {
      const elementBits = 256 / atom.k
      const steps = elementBits / bits
      const [rows, columns] = [128, 3 * atom.k * steps]
      const random = rng(bits * strip + atom.k)
      const codes = Uint16Array.from({ length: rows * columns }, () => random.integer(0, 2 ** bits - 1))
      const words = pack(codes, rows, columns, bits, fragmentOrder(atom, rows, columns, bits, strip))
      for (let tile = 0; tile < rows / 16; tile++) {
        for (let chunk = 0; chunk < 3; chunk++) {
          const [panel, inPanel] = [Math.floor((16 * tile) / strip), tile % (strip / 16)]
          const run = panel * (strip / 16) * 3 + chunk * (strip / 16) + inPanel
          for (let lane = 0; lane < 32; lane++) {
            for (let r = 0; r < 4; r++) {
              const word = words[(run * 32 + lane) * 4 + r]!
              for (let s = 0; s < steps; s++) {
                let register = 0
                for (let e = 0; e < 32 / elementBits; e++) {
                  const [row, k] = manualA(atom, lane, r, e)
                  const code = codes[(16 * tile + row) * columns + (chunk * steps + s) * atom.k + k]!
                  register |= code << (e * elementBits)
                }
                assert.is(((word >>> (s * bits)) & mask) >>> 0, register >>> 0)
              }
            }
          }
        }
      }
    })
  }
}

test('every position is taken once, and the left inverse finds the code again', () => {
  for (const { atom, bits } of cases) {
    for (const strip of [16, 48]) {
      const order = fragmentOrder(atom, 96, 192, bits, strip)
      const back = leftInverse(order)
      const seen = new Uint8Array(96 * 192)
      for (let i = 0; i < order.size; i++) {
        seen[order(i)]! += 1
        assert.is(back(order(i)), i)
      }
      assert.ok(seen.every((n) => n === 1))
    }
  }
})

test('4-bit codes of an 8-bit atom: the layout in closed form', () => {
  for (const [n, k] of [
    [16, 64],
    [4096, 14336],
    [96, 128],
  ] as const) {
    const closed = layout(
      [
        [8, 2, n / 16],
        [4, 4, 2, 2, k / 64],
      ],
      [
        [128, 8, 16 * k],
        [2, 32, 16, 1, 1024],
      ],
    )
    const order = fragmentOrder(u8s8, n, k, 4)
    const [rows, columns] = [offsetTables(order), offsetTables(closed)]
    assert.equal(rows, columns)
  }
})

test('strips of 64 rows are what a warpgroup reads for wgmma.m64: thread by thread, 16 bytes each', () => {
  const [rows, columns] = [128, 256]
  const order = fragmentOrder(u8s8, rows, columns, 4, 64)
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < columns; k++) {
      const [strip, chunk, step] = [Math.floor(n / 64), Math.floor(k / 64), Math.floor((k % 64) / 32)]
      const [warp, g, upper] = [Math.floor((n % 64) / 16), n % 8, Math.floor((n % 16) / 8)]
      const [late, t, j] = [Math.floor((k % 32) / 16), Math.floor((k % 16) / 4), k % 4]
      const thread = warp * 32 + g * 4 + t
      const byte = (strip * (columns / 64) + chunk) * 2048 + thread * 16 + (upper + 2 * late) * 4 + j
      assert.is(order(n, k), 2 * byte + step)
    }
  }
})

test('sizes that do not fill whole loads are refused', () => {
  const condition = (rows: number, columns: number, bits: number, strip?: number) =>
    refusal(() => fragmentOrder(u8s8, rows, columns, bits, strip)).condition
  assert.is(condition(24, 64, 4), 'the rows must be a multiple of 16')
  assert.is(condition(96, 64, 4, 64), 'the rows must be a multiple of 64')
  assert.is(condition(64, 64, 4, 40), 'a strip is a multiple of 16 rows, not 40')
  assert.is(condition(16, 32, 4), 'the columns must be a multiple of 64, the k-steps of one 16-byte load')
  assert.match(condition(16, 64, 16), 'at most the 8 of an element of A')
  assert.match(condition(16, 64, 5), '4, 8 or 16 bits')
  assert.match(condition(0, 64, 4), 'rows')
})

test.run()
