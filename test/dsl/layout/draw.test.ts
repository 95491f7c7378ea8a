import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { draw, drawOwners, layout, rowMajor, swizzled, xorSwizzle } from '../../../dsl/layout/index.ts'
import { refusal } from '../../support/layouts.ts'

const text = (...lines: string[]) => lines.join('\n')

test('mode 0 goes down and mode 1 across', () => {
  assert.is(
    rowMajor([2, 12]).draw(),
    text(
      '(2,12):(12,1)',
      '  |  0  1  2  3  4  5  6  7  8  9 10 11',
      '--+------------------------------------',
      '0 |  0  1  2  3  4  5  6  7  8  9 10 11',
      '1 | 12 13 14 15 16 17 18 19 20 21 22 23',
    ),
  )
})

test('a swizzle shows', () => {
  assert.is(
    draw(swizzled(rowMajor([4, 4]), xorSwizzle(2, 0, 2))),
    text(
      'Sw<2,0,2>o(4,4):(4,1)',
      '  |  0  1  2  3',
      '--+------------',
      '0 |  0  1  2  3',
      '1 |  5  4  7  6',
      '2 | 10 11  8  9',
      '3 | 15 14 13 12',
    ),
  )
})

test('one mode is a row, and a third one gives slices', () => {
  assert.is(draw(layout(4, 3)), text('4:3', '  | 0 1 2 3', '--+--------', '0 | 0 3 6 9'))
  assert.is(
    draw(layout([2, 2, 2])),
    text(
      '(2,2,2):(1,2,4), slice 0',
      '  | 0 1',
      '--+----',
      '0 | 0 2',
      '1 | 1 3',
      '',
      '(2,2,2):(1,2,4), slice 1',
      '  | 0 1',
      '--+----',
      '0 | 4 6',
      '1 | 5 7',
    ),
  )
})

test('owners of a tile, with a dot where there is none', () => {
  assert.is(
    drawOwners(layout([2, 2], [2, 1]), 2, 3),
    text(
      '(2,2):(2,1), (lane, value) of each element',
      '  |    0    1    2',
      '--+---------------',
      '0 | T0V0 T1V0    .',
      '1 | T0V1 T1V1    .',
    ),
  )
})

test('SVG has a labelled cell per element and stands alone', () => {
  const svg = draw(rowMajor([2, 3]), 'svg')
  assert.ok(svg.startsWith('<svg xmlns="http://www.w3.org/2000/svg" width='))
  assert.is(svg.match(/<path /g)!.length, 6)
  assert.is(svg.match(/<text /g)!.length, 1 + 2 + 3 + 6)
  assert.match(draw(swizzled(rowMajor([4, 4]), xorSwizzle(2, 0, 2)), 'svg'), 'Sw&lt;2,0,2>o')
  const owners = drawOwners(layout([2, 2], [2, 1]), 2, 3, 'svg')
  assert.is(owners.match(/<path [^>]*fill="#fff"/g)!.length, 2)
  assert.match(owners, '>T1V1<')
})

test('what cannot be drawn is refused', () => {
  assert.match(refusal(() => draw(layout([512, 256]))).condition, 'more than 65536')
  assert.match(refusal(() => drawOwners(layout([2, 2], [1, 1]), 2, 2)).condition, 'two owners')
  assert.match(refusal(() => drawOwners(layout([2, 2]), 1, 2)).condition, 'beyond the tile')
  assert.match(refusal(() => drawOwners(layout(4), 2, 2)).condition, 'two modes')
})

test.run()
