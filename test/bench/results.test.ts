import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { commandOf, mergeResults, type Row } from '../../bench/results.ts'

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

test('the command of a result has what is measured, and not where it goes', () => {
  const of = (name: string, line: string) => commandOf(name, line.split(' '))
  assert.is(
    of('throughput', 'bench throughput m --steps file --json out --rounds 2'),
    'quattuor bench throughput m --rounds 2',
  )
  assert.is(of('accuracy', 'm --steps --seeds 3 --commit a'), 'npm run bench:accuracy -- m --steps --seeds 3')
  assert.is(of('layer', '--steps 64:4096'), 'npm run bench:layer -- --steps 64:4096')
  assert.is(of('gemm', '--commit a'), 'npm run bench:gemm')
})

test.run()
