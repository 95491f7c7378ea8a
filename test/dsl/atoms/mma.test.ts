import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { MmaAtom } from '../../../dsl/atoms/index.ts'
import { mma } from '../../../dsl/atoms/index.ts'
import type { Layout } from '../../../dsl/layout/index.ts'

const atoms = [...Object.values(mma.m16n8k32), ...Object.values(mma.m16n8k16)]
const lanes = Array.from({ length: 32 }, (_, i) => i)

/** (row, column) of value i of a lane, as the PTX manual words it for each matrix. */
type Place = (group: number, inGroup: number, i: number) => [row: number, column: number]

/** "Matrix Fragments for mma.m16n8k32": .u8 and .s8 operands. */
const bytes: { a: Place; b: Place } = {
  a: (g, t, i) => [i < 4 || (i >= 8 && i < 12) ? g : g + 8, i < 8 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16],
  b: (g, t, i) => [i < 4 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16, g],
}

/** "Matrix Fragments for mma.m16n8k16 with floating point type": .f16 and .bf16 operands. */
const halves: { a: Place; b: Place } = {
  a: (g, t, i) => [i < 2 || (i >= 4 && i < 6) ? g : g + 8, i < 4 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8],
  b: (g, t, i) => [i < 2 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8, g],
}

/** C and D of either shape. */
const sums: Place = (g, t, i) => [i < 2 ? g : g + 8, t * 2 + (i & 1)]

const placesOf = (atom: MmaAtom) => (atom.k === 32 ? bytes : halves)

/** Checks a fragment element by element, and that its elements are all of rows × columns, each once. */
function checkFragment(l: Layout, rows: number, columns: number, values: number, place: Place): void {
  assert.is(l.size, 32 * values)
  const seen = new Set<number>()
  for (const lane of lanes) {
    for (let i = 0; i < values; i++) {
      const [row, column] = place(lane >> 2, lane % 4, i)
      assert.is(l(lane, i), row + rows * column)
      seen.add(l(lane, i))
    }
  }
  assert.is(seen.size, rows * columns)
}

for (const atom of atoms) {
  test(`the fragments of ${atom.name} are those of the PTX manual`, () => {
    const { a, b } = placesOf(atom)
    checkFragment(atom.a.layout, atom.m, atom.k, (atom.m * atom.k) / 32, a)
    // The manual gives B as (k, n); our offset is n + 8k.
    checkFragment(atom.b.layout, atom.n, atom.k, (atom.n * atom.k) / 32, (g, t, i) => {
      const [k, n] = b(g, t, i)
      return [n, k]
    })
    checkFragment(atom.c.layout, atom.m, atom.n, 4, sums)
  })
}

test('an atom has four registers of A and of C, and two of B', () => {
  for (const atom of atoms) {
    assert.equal([atom.a.registers, atom.b.registers, atom.c.registers], [4, 2, 4])
    assert.is(atom.m, 16)
    assert.is(atom.n, 8)
  }
})

test('names, types and places in the table agree', () => {
  for (const [shape, group] of Object.entries(mma)) {
    for (const [types, atom] of Object.entries(group)) assert.is((atom as MmaAtom).name, `${shape}.${types}`)
  }
  assert.equal(
    atoms.map((atom) => [atom.a.dtype, atom.b.dtype, atom.c.dtype].join()),
    ['i8,i8,i32', 'u8,i8,i32', 'i8,u8,i32', 'u8,u8,i32', 'f16,f16,f32', 'bf16,bf16,f32'],
  )
})

test.run()
