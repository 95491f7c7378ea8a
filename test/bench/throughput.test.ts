import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { commandOf } from '../../bench/results.ts'
import { busyShare, timelineRows } from '../../bench/throughput/timeline-rows.ts'
import type { StepTimes } from '../../serve/engine/timeline.ts'
import { nanoFolder } from '../support/http-service.ts'
import { runCli } from '../support/run-cli.ts'

const step = (
  kind: StepTimes['kind'],
  decoded: number,
  tokens: number,
  busy: number,
  idle: number,
): StepTimes => ({
  ...{ kind, decoded, tokens, rows: decoded, busy, idle, enqueue: 0.5 },
})

const steps = [
  step('prompts', 0, 100, 20, 0),
  step('mixed', 2, 100, 22, 2),
  step('decode', 4, 4, 9, 1),
  step('decode', 4, 4, 11, 1),
  step('decode', 3, 3, 8, 2),
]

test('the busy share is of the time from the first kernel to the last', () => {
  assert.is(busyShare(steps), 70 / 76)
  assert.is(busyShare(steps.slice(2, 4)), 20 / 22)
})

test('steps are told by kind, decode steps of all rows apart', () => {
  const rows = timelineRows(steps, 4)
  assert.equal(
    rows.map(({ step, steps }) => [step, steps]),
    [
      ['prompts', 1],
      ['mixed', 1],
      ['decode of 4', 2],
      ['decode of fewer', 1],
    ],
  )
  const { tokens, seconds, 'median ms': ms, 'idle ms': idle, 'busy %': busy } = rows[2]!
  assert.equal([tokens, seconds, ms, idle], [4, 0.022, 10, 1])
  assert.ok(Math.abs(Number(busy) - (100 * 20) / 22) < 1e-9)
})

test('results name the command that measures again, and not where its files went', () => {
  assert.is(
    commandOf('serve', ['llama-3-8b', '--json', 'a.json', '--rate', '8', '--commit', 'abc']),
    'npm run bench:serve -- llama-3-8b --rate 8',
  )
  assert.is(commandOf('serve', ['bench', 'serve', 'm', '--html', 'x']), 'quattuor bench serve m')
  assert.is(commandOf('layer', []), 'npm run bench:layer')
})

test('the command line measures a model, and says what it cannot', async () => {
  const { code, out } = await runCli(
    ...['bench', 'throughput', nanoFolder, '--device', 'emulator', '--shape', '12/4'],
    ...['--requests', '3', '--sequences', '2', '--step-tokens', '32'],
  )
  assert.is(code, 0)
  assert.match(out, /output tokens\/s/)
  assert.match(out, /decode of 2/)
  const foreign = await runCli('bench', 'throughput', 'no-such-model', '--device', 'emulator')
  assert.is(foreign.code, 2)
  assert.match(foreign.err, /no-such-model is no folder; models by name are llama-3-8b/)
  const shape = await runCli('bench', 'throughput', nanoFolder, '--shape', '12x4')
  assert.is(shape.code, 2)
  assert.match(shape.err, /as in 1024\/512/)
})

test.run()
