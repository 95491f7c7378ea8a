import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DType } from '../../../dsl/dtype.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'
import { swizzledTile } from '../../../dsl/layout/index.ts'
import { rng } from '../../support/rng.ts'

const types: DType[] = ['i8', 'e4m3', 'f16', 'bf16', 'f32']

test('chunks of 16 bytes are exchanged within a row, by the bits of the address above the row', () => {
  const random = rng(61)
  for (const dtype of types)
    for (const bytes of [32, 64, 128]) {
      const size = dtypeBytes[dtype]
      const [stages, rows, columns] = [3, 24, bytes / size]
      const tile = swizzledTile([stages, rows, columns], dtype)
      for (let i = 0; i < 50; i++) {
        const [stage, row, column] = [stages, rows, columns].map((n) => random.integer(0, n - 1)) as [
          number,
          number,
          number,
        ]
        const plain = ((stage * rows + row) * columns + column) * size
        // PTX manual, "Swizzling Modes": bits 4 to 6 of an address, as many as the mode has, xor bits 7 to 9.
        const mask = (bytes / 16 - 1) << 7
        assert.is((tile(stage, row, column) as number) * size, plain ^ ((plain & mask) >> 3))
      }
    }
})

test('eight neighbouring rows hold a column of chunks in eight different banks of 16 bytes', () => {
  const tile = swizzledTile([8, 128], 'i8')
  for (let chunk = 0; chunk < 8; chunk++) {
    const banks = Array.from({ length: 8 }, (_, row) => ((tile(row, 16 * chunk) as number) >> 4) & 7)
    assert.is(new Set(banks).size, 8)
  }
})

test('rows of other lengths, and rows that are no multiple of 8, are refused', () => {
  assert.throws(() => swizzledTile([8, 96], 'i8'), /a row has 32, 64 or 128 bytes, not 96/)
  assert.throws(() => swizzledTile([8, 128], 'f16'), /not 256/)
  assert.throws(() => swizzledTile([2, 12, 64], 'f16'), /the rows are a multiple of 8, not 12/)
})

test.run()
