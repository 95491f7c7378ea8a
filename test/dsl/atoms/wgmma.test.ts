import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mma, type WgmmaTypes, wgmmaAtom, wgmmaHas } from '../../../dsl/atoms/index.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'

const allTypes: WgmmaTypes[] = ['s8s8', 's8u8', 'u8s8', 'u8u8', 'f16', 'bf16', 'e4m3', 'e5m2']

test('every element of A and of D is held once, by one thread of the warpgroup', () => {
  for (const types of allTypes)
    for (const n of [8, 48, 256]) {
      const { a, c, k } = wgmmaAtom(n, types)
      for (const [layout, columns] of [
        [a.layout, k],
        [c.layout, n],
      ] as const) {
        const held = new Set<number>()
        for (let thread = 0; thread < 128; thread++)
          for (let value = 0; value < layout.size / 128; value++) held.add(layout(thread, value) as number)
        assert.is(held.size, 64 * columns)
        assert.is(Math.max(...held), 64 * columns - 1)
      }
      assert.is(a.registers * 4 * 128, 64 * k * dtypeBytes[a.dtype])
      assert.is(c.registers * 128, 64 * n)
    }
})

test('each warp holds 16 rows as mma.sync of the same types does', () => {
  for (const [types, shape] of [
    ['u8s8', mma.m16n8k32.u8s8],
    ['f16', mma.m16n8k16.f16],
  ] as const) {
    const { a, c } = wgmmaAtom(64, types)
    for (let thread = 0; thread < 128; thread++) {
      const [warp, lane] = [thread >> 5, thread & 31]
      for (const [ours, theirs] of [
        [a, shape.a],
        [c, shape.c],
      ] as const)
        for (let value = 0; value < theirs.layout.size / 32; value++) {
          const there = theirs.layout(lane, value) as number
          assert.is(ours.layout(thread, value), (there % 16) + 16 * warp + 64 * Math.floor(there / 16))
        }
    }
  }
})

test('columns are multiples of 8 up to 256; of integers, some are missing', () => {
  const columns = (types: WgmmaTypes) =>
    Array.from({ length: 300 }, (_, n) => n).filter((n) => wgmmaHas(n, types))
  assert.equal(
    columns('e5m2'),
    Array.from({ length: 32 }, (_, i) => 8 * (i + 1)),
  )
  assert.equal(columns('u8s8').length, 18)
  assert.not(wgmmaHas(40, 's8s8'))
  assert.throws(() => wgmmaAtom(40, 's8s8'), /wgmma with s8s8 has no 40 columns; there are 8, 16, 24, 32, 48/)
  assert.throws(() => wgmmaAtom(12, 'f16'), /multiples of 8 up to 256/)
})

test('the same instruction is the same atom', () => {
  assert.is(wgmmaAtom(64, 'u8s8'), wgmmaAtom(64, 'u8s8'))
  assert.is(wgmmaAtom(64, 'u8s8').name, 'm64n64k32.u8s8')
})

test.run()
