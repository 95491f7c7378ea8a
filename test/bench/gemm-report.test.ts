import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { layerShapes } from '../../bench/gemm/layers.ts'
import { gemmPage, micros } from '../../bench/gemm/page.ts'
import { reportText, summaryText } from '../../bench/gemm/report.ts'
import type { GemmRow, RivalRow } from '../../bench/gemm/rows.ts'

/** Twice as fast as the rival, chained half as much again, at half of the floor. */
const rows: GemmRow[] = [16, 64].flatMap((tokens) =>
  layerShapes.map((shape) => ({
    ...{ format: 'w4a8', group: 0, ...shape, tokens, registers: 168 },
    ...{ us: 10, usChained: 8, tops: 100, tbPerS: 2, floorUs: 5, config: { path: 'wgmma', tokens: 16 } },
  })),
)
const rivals: RivalRow[] = layerShapes.map((shape) => ({
  ...{ source: 'cuda', format: 'w4a8', group: 0, ...shape, tokens: 16, variant: 'a', us: 20, usChained: 12 },
}))

test('a table has each product with its share of the floor and its ratio to a rival, and their sum', () => {
  const [head, columns, first, , , , sum] = reportText(
    rows.filter(({ tokens }) => tokens === 16),
    rivals,
  ).split('\n')
  assert.is(head, '16 tokens')
  const words = (line: string | undefined) => line!.trim().split(/\s{2,}/)
  assert.equal(words(columns), [
    ...['format', 'shape', 'us', 'chained', 'TB/s', 'TOPS', 'floor %', 'x CUDA', 'x CUDA chained'],
  ])
  assert.equal(words(first), ['w4a8', '6144x4096', '10', '8', '2', '100', '50', '2', '1.50'])
  assert.equal(words(sum), ['w4a8', 'sum', '40', '32', '50', '2', '1.50'])
})

test('the summary compares layers, and leaves out what a rival has not measured', () => {
  const [, few, many] = summaryText(rows, rivals).split('\n')
  assert.match(few!, /w4a8 +16 +40 +32 +50 +hand-written CUDA +80 +48 +2 +1\.50/)
  assert.match(many!, /w4a8 +64 +40 +32 +50$/)
})

test('a failed product is a line with its reason and has no sum', () => {
  const failed = {
    ...rows[0]!,
    us: null,
    usChained: null,
    tops: null,
    tbPerS: null,
    error: 'out[0, 0] is wrong',
  }
  const text = reportText([failed, ...rows.slice(1, 4)], rivals)
  assert.match(text, /6144x4096 .*out\[0, 0\] is wrong/)
  assert.not.match(text, /sum/)
})

test('the page needs nothing else, and shows names as they are', () => {
  const header = {
    ...{ command: '', date: '2026-11-21T00:00:00.000Z', commit: null, device: 'A <GPU> & more', cpu: '' },
    ...{ driver: null, smClockMHz: null },
  }
  const page = gemmPage(header, rows, rivals)
  assert.match(page, /<h1>Quantized matrix products on A &lt;GPU&gt; &amp; more<\/h1>/)
  assert.not.match(page, /(src|href)=|<script|NaN|undefined|Infinity/)
  assert.is(page.match(/<svg/g)!.length, page.match(/<\/svg>/g)!.length)
  assert.match(page, /<b>1\.50×<\/b> hand-written CUDA/)
  assert.match(gemmPage(header, [], []), /Product by product/)
})

test('the page marks what an earlier run measured, wherever it stands, and says which run that was', () => {
  const date = '2026-11-22T00:00:00.000Z'
  const header = { command: '', date, commit: 'new', device: 'GPU', cpu: '', driver: null, smClockMHz: null }
  const now = { date, commit: 'new' }
  const before = { date: '2026-11-21T03:04:05.000Z', commit: 'old' }
  const mixed = rows.map((row) => ({ ...row, run: row.tokens === 64 ? before : now }))
  const page = gemmPage(header, mixed, rivals)
  assert.match(page, /marks rows of earlier runs: 4 of 2026-11-21 03:04 UTC, commit old\./)
  // The tile of 64 tokens, its shares of the floor (no rival has it), its rows, and the sentence that says so.
  assert.is(page.match(/†/g)!.length, 1 + 4 + 4 + 1)
  assert.match(page, /64 tokens<sup/)
  const whole = gemmPage(
    header,
    rows.map((row) => ({ ...row, run: now })),
    rivals,
  )
  assert.not.match(whole, /†|earlier/)
})

test('microseconds have three digits', () => {
  assert.equal([5.123, 38.61, 155.8, 1078.7].map(micros), ['5.1 µs', '38.6 µs', '156 µs', '1.08 ms'])
})

test.run()
