import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { mergeResults, type Row } from '../../bench/results.ts'

const figures = new Set(['us', 'date', 'commit'])

test('rows that a run did not measure stay where they were, with the date and commit of their own run', () => {
  const older = {
    date: 'monday',
    commit: 'a',
    rows: [
      { kernel: 'norm', tokens: 1, us: 3 },
      { kernel: 'norm', tokens: 64, us: 5, date: 'sunday', commit: 'z' },
      { kernel: 'gelu', form: 'tanh', tokens: 1, us: 7 },
    ] as readonly Row[],
  }
  const newer = [
    { tokens: 1, kernel: 'gelu', form: 'tanh', us: 6 },
    { kernel: 'gelu', form: 'erf', tokens: 1, us: 8 },
  ]
  assert.equal(mergeResults(older, newer, figures), [
    { kernel: 'norm', tokens: 1, us: 3, date: 'monday', commit: 'a' },
    { kernel: 'norm', tokens: 64, us: 5, date: 'sunday', commit: 'z' },
    newer[0],
    newer[1],
  ])
})

test.run()
