import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../codegen/target.ts'
import { space } from '../../dsl/index.ts'

const tiles = space({ tile: [32, 64, 128], stages: [2, 3, 4] })
  .where('fits shared memory', (c, target) => c.tile * c.stages * 512 <= target.sharedBytes)
  .where('no more rows than there are', (c, _, dims) => dims === undefined || c.tile <= dims.M!)

test('rules look at the target and at the launch, and leave the axes in order', () => {
  // 99 KiB: 128 x 2 x 512 B = 128 KiB does not fit, 64 x 3 x 512 B = 96 KiB does.
  assert.equal(tiles.configurations(targets.sm_86), [
    { tile: 32, stages: 2 },
    { tile: 32, stages: 3 },
    { tile: 32, stages: 4 },
    { tile: 64, stages: 2 },
    { tile: 64, stages: 3 },
  ])
  assert.is(tiles.configurations(targets.sm_90a).length, 8)
  assert.is(tiles.configurations(targets.sm_90a, { M: 64 }).length, 6)
  assert.is(tiles.configurations(targets.sm_90a, { M: 8 }).length, 0)
})

test('says how many configurations each rule removes of those that come to it', () => {
  assert.equal(tiles.pruned(targets.sm_86, { M: 32 }), {
    all: 9,
    removed: [
      { why: 'fits shared memory', count: 4 },
      { why: 'no more rows than there are', count: 2 },
    ],
  })
})

test('a refusal names the rule, and what is not on the axes', () => {
  assert.is(tiles.refusal({ tile: 32, stages: 2 }, targets.sm_86, { M: 32 }), undefined)
  assert.is(tiles.refusal({ tile: 128, stages: 4 }, targets.sm_86), 'fits shared memory')
  assert.is(tiles.refusal({ tile: 64, stages: 2 }, targets.sm_86, { M: 32 }), 'no more rows than there are')
  assert.is(tiles.refusal({ tile: 16 as 32, stages: 2 }, targets.sm_86), 'the axes of the space')
})

test('joined spaces keep their own rules, and a rule added later concerns all', () => {
  const other = space({ path: ['wide'], width: [1, 2] }).where('wide targets', (_, t) => t.capability >= 90)
  const both = tiles.or(other)
  assert.is(both.configurations(targets.sm_86).length, 5)
  assert.is(both.configurations(targets.sm_90a).length, 10)
  assert.equal(both.axes, { tile: [32, 64, 128], stages: [2, 3, 4], path: ['wide'], width: [1, 2] })
  const narrow = both.where('narrow', (c) => !('width' in c) || c.width === 1)
  assert.is(narrow.configurations(targets.sm_90a).length, 9)
  assert.is(both.refusal({ path: 'wide', width: 1 }, targets.sm_86), 'wide targets')
  assert.is(both.refusal({ path: 'wide', width: 2 }, targets.sm_90a), undefined)
  assert.is(both.pruned(targets.sm_86).all, 11)
})

test('a key says which extents a record is kept for', () => {
  const keyed = tiles.key(({ M }) => ({ M: 2 ** Math.ceil(Math.log2(M!)) }))
  assert.equal(keyed.keyOf({ M: 33, N: 7 }), { M: 64 })
  assert.equal(tiles.keyOf({ M: 33, N: 7 }), { M: 33, N: 7 })
})

test.run()
