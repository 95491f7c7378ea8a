import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Dims } from '../../../dsl/kernel.ts'
import type { Rejected } from '../../../runtime/tune/protocol.ts'
import { RecordFile } from '../../../runtime/tune/record-file.ts'
import { type Measuring, type TuneOutcome, tune } from '../../../runtime/tune/tune.ts'
import { cell, fakeCompiler, fakeFacts, fakeTarget, fakeTask } from '../../support/fake-tuning.ts'
import { temporaryFolder } from '../../support/run-cli.ts'

/** Measures by a table, and notes who took part. */
function tableMeasurer(microseconds: Readonly<Record<string, number>>, wrong: readonly string[] = []) {
  const raced: string[] = []
  const loaded: string[] = []
  const measurer: Measuring = {
    async load(_id, { config }) {
      if (config.name === 'unloadable')
        throw Object.assign(new Error('too many registers'), { name: 'LoadError' })
      loaded.push(String(config.name))
      return { registers: 100, localBytes: 16 }
    },
    async measure(dims, candidates) {
      raced.push(`${dims.M}: ${candidates.map(({ config }) => config.name).join()}`)
      const rejected: Rejected[] = candidates
        .filter(({ config }) => wrong.includes(String(config.name)))
        .map(({ id }) => ({ id, failure: 'wrong', reason: 'off by one' }))
      const results = candidates
        .filter(({ id }) => !rejected.some((each) => each.id === id))
        .map(({ id, config }) => {
          const us = microseconds[String(config.name)]! * dims.M!
          return { id, us, interval: [0.99 * us, 1.01 * us] as const }
        })
      return { results: results.sort((a, b) => a.us - b.us), rejected }
    },
  }
  return { measurer, raced, loaded }
}

const path = () => join(temporaryFolder(), 'gpu', 'w4a8.jsonl')

async function run(
  at: string,
  names: readonly string[],
  cells: readonly Dims[],
  table: ReturnType<typeof tableMeasurer>,
  options: { again?: boolean; refuses?: readonly string[] } = {},
): Promise<TuneOutcome> {
  const file = new RecordFile(at)
  file.begin(fakeFacts)
  const { refuses, ...rest } = options
  const outcome = await tune(fakeTask(names, cells), {
    ...{ target: fakeTarget, file, compiler: fakeCompiler(refuses), measurer: table.measurer },
    ...rest,
  })
  file.compact()
  return outcome
}

const winner = (at: string, M: number) =>
  new RecordFile(at)
    .records()
    .filter(({ key }) => key.M === M)
    .sort((a, b) => a.us - b.us)[0]

test('records the fastest few of each shape with what is known of them', async () => {
  const at = path()
  const table = tableMeasurer({ a: 5, b: 4, c: 6, d: 7, e: 8, f: 9 })
  const outcome = await run(at, ['a', 'b', 'c', 'd', 'e', 'f'], [cell(16)], table)
  assert.is(outcome.cells[0]!.timings.length, 6, 'all that was measured is told')
  const records = new RecordFile(at).records()
  assert.equal(
    records.map(({ config }) => config.name),
    ['b', 'a', 'c', 'd'],
  )
  const { ptxHash, ...first } = records[0]!
  assert.match(ptxHash, /^[0-9a-f]{12}$/)
  assert.equal(first, {
    ...fakeFacts,
    config: { name: 'b' },
    registers: 100,
    spills: 16,
    shared: 1024,
    key: { N: 4096, K: 4096, M: 16 },
    us: 64,
    interval: [63.36, 64.64],
  })
})

test('a rerun measures nothing, and a configuration that is added measures itself and the recorded ones', async () => {
  const at = path()
  const cells = [cell(1), cell(2)]
  await run(at, ['a', 'b'], cells, tableMeasurer({ a: 5, b: 4 }))
  const rerun = tableMeasurer({ a: 5, b: 4 })
  const outcome = await run(at, ['a', 'b'], cells, rerun)
  assert.equal([rerun.raced, outcome.known, outcome.cells.length], [[], 2, 0])
  const more = tableMeasurer({ a: 5, b: 4, c: 3 })
  await run(at, ['a', 'b', 'c'], [...cells, cell(4)], more)
  assert.equal(
    more.raced.map((line) => line.split(',').sort().join()),
    ['1: a,b,c', '2: a,b,c', '4: a,b,c'],
  )
  assert.is(winner(at, 2)!.config.name, 'c')
  const again = tableMeasurer({ a: 1, b: 4, c: 3 })
  await run(at, ['a', 'b', 'c'], cells, again, { again: true })
  assert.is(again.raced.length, 2)
  assert.is(winner(at, 2)!.config.name, 'a')
})

test('a wrong result is recorded as wrong, never as a time, and trusted at no other shape', async () => {
  const at = path()
  const table = tableMeasurer({ a: 1, b: 4 }, ['a'])
  const outcome = await run(at, ['a', 'b'], [cell(1), cell(2), cell(4)], table)
  assert.equal(table.raced, ['1: a,b', '2: b', '4: b'])
  assert.equal(outcome.failures, [
    { config: { name: 'a' }, failure: 'wrong', reason: 'off by one', key: cell(1) },
  ])
  const file = new RecordFile(at)
  assert.ok(file.records().every(({ config }) => config.name === 'b'))
  assert.equal(
    file.failures().map(({ config, failure, reason, key }) => [config.name, failure, reason, key]),
    [['a', 'wrong', 'off by one', cell(1)]],
  )
  const rerun = tableMeasurer({ a: 1, b: 4 })
  await run(at, ['a', 'b'], [cell(1), cell(8)], rerun)
  assert.equal(rerun.raced, ['8: b'], 'failures are remembered')
})

test('what does not compile or load is recorded with one sentence', async () => {
  const at = path()
  const table = tableMeasurer({ a: 1 })
  const outcome = await run(at, ['a', 'broken', 'unloadable'], [cell(1), cell(2)], table, {
    refuses: ['broken'],
  })
  assert.equal(table.raced, ['1: a', '2: a'])
  assert.equal(
    outcome.failures.map(({ config, failure, reason }) => [config.name, failure, reason]),
    [
      ['broken', 'compile', 'E0309  broken does not fit'],
      ['unloadable', 'launch', 'too many registers'],
    ],
  )
})

test('a shape where no candidate works is told apart from one on record', async () => {
  const outcome = await run(path(), ['broken'], [cell(1)], tableMeasurer({}), { refuses: ['broken'] })
  assert.equal([outcome.known, outcome.cells], [0, [{ key: cell(1), timings: [] }]])
})

test('who is hopeless at every neighbouring shape is left out there, and tried again further away', async () => {
  const table = tableMeasurer({ a: 1, b: 1.9, c: 2.1 })
  await run(path(), ['a', 'b', 'c'], [cell(16), cell(32), cell(64), cell(96)], table)
  assert.equal(table.raced, ['16: a,b,c', '32: a,b', '64: a,b,c', '96: a,b'])
})

/** A file of what a run found with programs that have been compiled to another text since. */
function withOtherTexts(at: string): string {
  const other = path()
  new RecordFile(other).begin(fakeFacts)
  appendFileSync(other, readFileSync(at, 'utf8').replaceAll(/"ptxHash":"\w{8}/g, '"ptxHash":"00000000'))
  return other
}

test('a program of another text counts as new, and its old times are gone once its shape is measured', async () => {
  const at = path()
  await run(at, ['a', 'b'], [cell(1), cell(2)], tableMeasurer({ a: 5, b: 6 }))
  const other = withOtherTexts(at)
  const table = tableMeasurer({ a: 7, b: 8 })
  await run(other, ['a', 'b'], [cell(1)], table)
  assert.equal(table.raced, ['1: a,b'])
  assert.is(winner(other, 1)!.us, 7)
  assert.is(winner(other, 2)!.us, 10)
  await run(other, ['a', 'b'], [cell(1), cell(2)], table)
  assert.equal(table.raced, ['1: a,b', '2: a,b'])
  assert.equal([winner(other, 1)!.us, winner(other, 2)!.us], [7, 14])
  const programs = readFileSync(other, 'utf8').match(/^\{"program"/gm)
  assert.is(programs?.length, 2, 'programs that no shape has times of are dropped')
  const file = new RecordFile(withOtherTexts(other))
  file.begin(fakeFacts)
  const text = (ptxHash: string) => ({ config: { name: 'a' }, registers: 1, spills: 0, shared: 0, ptxHash })
  const [one, two] = [file.program(text('one')), file.program(text('two'))]
  assert.is.not(one, two)
  assert.is(file.program(text('one')), one, 'a text that comes back is the program that it was')
  assert.not(file.hasTried(cell(1), one))
})

test('a run that is cut off before it measures loses no winner, though every program has changed', async () => {
  const at = path()
  await run(at, ['a', 'b'], [cell(1), cell(2)], tableMeasurer({ a: 5, b: 6 }))
  const other = withOtherTexts(at)
  const table = tableMeasurer({ a: 7, b: 8 })
  const cut = { ...table.measurer, measure: () => Promise.reject(new Error('cut off')) }
  const file = new RecordFile(other)
  file.begin(fakeFacts)
  const options = { target: fakeTarget, file, compiler: fakeCompiler(), measurer: cut }
  const end = await tune(fakeTask(['a', 'b'], [cell(1), cell(2)]), options).catch((error) => error)
  assert.match(String(end), /cut off/)
  const fastest = () => [1, 2].map((M) => [winner(other, M)!.config.name, winner(other, M)!.us])
  assert.equal(fastest(), [
    ['a', 5],
    ['a', 10],
  ])
  new RecordFile(other).compact()
  assert.equal(fastest(), [
    ['a', 5],
    ['a', 10],
  ])
  await run(other, ['a', 'b'], [cell(1), cell(2)], table)
  assert.equal(table.raced, ['1: a,b', '2: a,b'], 'both shapes are measured again')
})

test('a line that was cut short is ignored, and what follows begins on a line of its own', async () => {
  const at = path()
  await run(at, ['a'], [cell(1), cell(2)], tableMeasurer({ a: 5 }))
  appendFileSync(at, '{"key":{"N":4096,"K":40')
  const table = tableMeasurer({ a: 5 })
  await run(at, ['a'], [cell(1), cell(2), cell(4)], table)
  assert.equal(table.raced, ['4: a'])
  for (const line of readFileSync(at, 'utf8').trim().split('\n')) JSON.parse(line)
})

test('a tuner that is killed loses the shape that it was at, and goes on from there', async () => {
  const at = path()
  const script = fileURLToPath(new URL('../../support/run-fake-tuning.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', script, at], { stdio: 'inherit' })
  const cellsIn = () =>
    existsSync(at)
      ? readFileSync(at, 'utf8')
          .split('\n')
          .filter((line) => line.includes('"us"')).length
      : 0
  while (child.exitCode === null && cellsIn() < 3) await setTimeout(20)
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('close', resolve))
  const before = cellsIn()
  assert.ok(before >= 3 && before < 40, `${before} shapes were recorded`)
  const table = tableMeasurer({ a: 10, b: 12 })
  const cells = Array.from({ length: 40 }, (_, i) => cell(i + 1))
  const outcome = await run(at, ['a', 'b'], cells, table)
  assert.equal([outcome.known, outcome.cells.length], [before, 40 - before])
  assert.is(new Set(new RecordFile(at).records().map(({ key }) => key.M)).size, 40)
})

test.run()
