import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { recordsPath } from '../../cli/tune/gemm.ts'
import { targets } from '../../codegen/target.ts'
import { gemmSpace } from '../../kernels/gemm/space.ts'
import { packageRoot } from '../../runtime/package-root.ts'
import { RecordFile } from '../../runtime/tune/record-file.ts'
import { fakeFacts } from '../support/fake-tuning.ts'
import { assertRefused, runCli, temporaryFolder } from '../support/run-cli.ts'

// Records, and candidates compiled ahead of time, are for this file alone.
process.env.QUATTUOR_CACHE = temporaryFolder()

/** A small product with a few candidates. */
const small = ['--shape', '64x256', '--tokens', '3', '--format', 'w4a8', '--device', 'emulator']

test('without a GPU, candidates are checked, ranked by an estimate that says so, and drawn', async () => {
  const folder = temporaryFolder()
  const [out, report, rivals] = [
    join(folder, 'tuned'),
    join(folder, 'report.html'),
    join(folder, 'rivals.json'),
  ]
  writeFileSync(rivals, '[{"name": "cuBLAS <fast>", "N": 64, "K": 256, "M": 3, "us": 7.5}]')
  const first = await runCli(
    ...['tune', 'gemm', ...small, '--out', out, '--report', report, '--rivals', rivals, '--json'],
  )
  assert.equal([first.code, first.err], [0, ''])
  const { runs, winners } = JSON.parse(first.out)
  assert.is(runs.length, 1)
  const [run] = runs
  const file = join(out, 'emulator-cpu', 'w4a8.jsonl')
  assert.equal(
    [run.format, run.device.name, run.status, run.measured, run.known, run.file],
    ['w4a8', 'emulator', 'unmeasured', 1, 0, file],
  )
  assert.ok(run.programs > 0)
  assert.equal(run.failures, [])
  assert.is(winners.length, 1)
  const [winner] = winners
  assert.equal([winner.N, winner.K, winner.M, winner.status], [64, 256, 3, 'unmeasured'])
  // The model's launch takes 2 µs whatever the work.
  assert.ok(winner.us > 2 && winner.us < 10, `${winner.us} µs`)
  assert.ok(new RecordFile(file).records().every(({ status }) => status === 'unmeasured'))

  const rule = gemmSpace('w4a8')
    .pruned(targets.sm_90a)
    .removed.find(({ count }) => count > 0)!
  const html = readFileSync(report, 'utf8')
  for (const part of [
    'Roofline',
    'What matters',
    'Product by product',
    'Configurations',
    'What was not tried',
  ])
    assert.match(html, `<h2>${part}</h2>`)
  for (const part of ['<svg', 'class="heat"', '64×256', 'cuBLAS &lt;fast&gt;', rule.why, 'no measurements'])
    assert.match(html, part)
  assert.match(html, /the best rival’s speed, ahead at 1 of 1/)
  assert.not.match(html, /(src|href)=|https?:|@import|url\(/, 'the page needs nothing else')
  assert.not.match(html, /NaN|Infinity|undefined/)

  const rerun = await runCli('tune', 'gemm', ...small, '--out', out)
  assert.match(rerun.out, /^w4a8 on PTX emulator: 1 shape on record, \d+ programs, in /)
  assert.match(rerun.out, /\nformat +N +K +tokens +estimated µs/)
  const shown = await runCli('tune', 'show', '--from', out, '--format', 'w4a8')
  assert.equal([shown.code, shown.err], [0, ''])
  assert.match(shown.out, /^PTX emulator \(unmeasured\)\nformat /)
})

test('an estimate is kept nowhere unless a folder is named', () => {
  assert.is(recordsPath({ slug: 'emulator-cpu', measures: false }, 'w16', undefined), null)
  assert.is(
    recordsPath({ slug: 'nvidia-h200', measures: true }, 'w16', undefined),
    join(packageRoot(), 'kernels/tuned/nvidia-h200/w16.jsonl'),
  )
  assert.is(
    recordsPath({ slug: 'emulator-cpu', measures: false }, 'w16', 'a'),
    join('a', 'emulator-cpu', 'w16.jsonl'),
  )
})

test('show gives the winners of the products and tokens that are asked for', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'fake-gpu', 'w4a8.jsonl')
  mkdirSync(dirname(path), { recursive: true })
  const file = new RecordFile(path)
  file.begin(fakeFacts)
  const programs = ['slow', 'fast'].map((name) =>
    file.program({ config: { name }, registers: 90, spills: 8, shared: 2048, ptxHash: name }),
  )
  for (const M of [16, 64])
    file.cell(
      { N: 4096, K: 14336, M },
      programs.map((program, i) => ({ program, us: 10 - i, interval: [9 - i, 11 - i] })),
    )
  const { out } = await runCli(
    'tune',
    'show',
    '--from',
    folder,
    '--shape',
    '4096x14336',
    '--tokens',
    '64',
    '--json',
  )
  const { winners } = JSON.parse(out)
  assert.equal(
    winners.map(({ M, us, config, registers, spills }: Record<string, unknown>) => [
      M,
      us,
      config,
      registers,
      spills,
    ]),
    [[64, 9, { name: 'fast' }, 90, 8]],
  )
  const table = await runCli('tune', 'show', '--from', folder)
  assert.match(table.out, /^Fake GPU\nformat +N +K +tokens +µs +±/)
  assert.match(table.out, /\nw4a8 +4096 +14336 +16 +9 +1\.0 /)
  assert.match(table.out, '90, spills 8 B')
  assertRefused(
    await runCli('tune', 'show', '--from', folder, '--shape', '64x64'),
    'no record is of such a product; there are 4096x14336',
  )
  assertRefused(await runCli('tune', 'show', '--from', temporaryFolder()), 'no records', 'quattuor tune gemm')
})

test('--compile-only fills the cache for a GPU that need not be here', async () => {
  const run = await runCli(
    ...['tune', 'gemm', '--shape', '64x128', '--tokens', '3', '--format', 'w16'],
    ...['--compile-only', '--target', 'sm_80', '--json'],
  )
  assert.equal([run.code, run.err], [0, ''])
  const { target, programs, failures, folder } = JSON.parse(run.out)
  assert.equal([target, failures, folder], ['sm_80', [], process.env.QUATTUOR_CACHE])
  assert.ok(programs > 0 && existsSync(join(folder, 'programs')))
})

test('a product that no tiles fit is told which rules leave them out', async () => {
  const run = await runCli('tune', 'gemm', '--shape', '250x512', '--tokens', '1,2', '--device', 'emulator')
  assert.is(run.code, 2)
  assert.match(
    run.out,
    /2 shapes without a candidate.*\n {2}no tiles fit 250x512 on sm_90a: N a multiple of 8/,
  )
  assert.is(run.out.split('no tiles fit').length, 2)
})

test('what cannot be tuned is refused in one sentence', async () => {
  const notRivals = join(temporaryFolder(), 'rivals.json')
  writeFileSync(notRivals, '[{"name": "x", "N": 64, "K": 128, "M": 3}]')
  for (const [args, ...words] of [
    [[], 'nothing to tune', '--model', '--shape'],
    [['--model', 'llama-3-8'], "did you mean 'llama-3-8b'?"],
    [['--shape', '4096'], 'features x columns'],
    [['--shape', '64x64', '--tokens', '1,0'], 'no numbers of tokens'],
    [['--shape', '64x64', '--format', 'w4a9'], "no weight format 'w4a9'"],
    [['--shape', '64x64', '--target', 'sm_80'], '--compile-only'],
    [['--shape', '64x64', '--rivals', notRivals], '--report'],
    [['--shape', '64x64', '--report', 'r.html', '--rivals', notRivals], 'no list of rivals', '0.us'],
    [['--shape', '64x64', '--device', 'cuda:99'], /cuda|driver/],
  ] as [string[], ...(string | RegExp)[]][])
    assertRefused(await runCli('tune', 'gemm', ...args), ...words)
})

test.run()
