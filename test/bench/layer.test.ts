import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attentionSection } from '../../bench/layer/attention.ts'
import { groupTimes, stepBars } from '../../bench/layer/bars.ts'
import { layerPage } from '../../bench/layer/page.ts'
import { measurePlans, stepPlan } from '../../bench/layer/plans.ts'
import { stepText, summaryText } from '../../bench/layer/report.ts'
import { type LayerRow, markEarlier, mergeRows, stepsOf } from '../../bench/layer/rows.ts'
import { cacheRoom, contextsOf, decodeInput, loadStack } from '../../bench/layer/stack.ts'
import { stepWork } from '../../bench/layer/work.ts'
import { namedConfig } from '../../models/shapes.ts'
import { formatOf } from '../../quantize/recipe.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { ceilings } from '../../runtime/tune/roofline.ts'
import { modelConfig } from '../support/model-config.ts'

const kernels = [
  { kernel: 'norm', launches: 4, us: 2, marginalUs: 1, bytes: 4e6, ops: 0, floorUs: 1 },
  { kernel: 'attention', launches: 2, us: 30, marginalUs: 25, bytes: 9e7, ops: 1e9, floorUs: 20 },
  { kernel: 'lm_head', launches: 1, us: 40, marginalUs: 38, bytes: 1e8, ops: 2e9, floorUs: 25 },
  { kernel: 'layers', launches: 1, us: 60, marginalUs: null, bytes: 2e8, ops: 1e9, floorUs: 44 },
  { kernel: 'step', launches: 1, us: 100, marginalUs: null, bytes: 3e8, ops: 3e9, floorUs: 69 },
]
const rows: LayerRow[] = [1, 64].flatMap((batch) =>
  kernels.map((row) => ({
    weights: 'w4a8',
    head: 'w16',
    kv: 'kv4',
    batch,
    context: 1280,
    spread: batch === 1 ? 0 : 0.2,
    ...row,
  })),
)

test('a table has each kernel, their sum, the layers and the step as one, with their shares of the step', () => {
  const [title, head, norm, attention, , sum, layers, step] = stepText(stepsOf(rows)[1]!).split('\n')
  const words = (line: string | undefined) => line!.trim().split(/\s{2,}/)
  assert.is(title, 'w4a8 kv4, 64 sequences, context 1280 ± 20 %')
  assert.equal(words(head), [
    ...[
      'kernel',
      'launches',
      'us',
      'MB',
      'TB/s',
      'floor us',
      'us / floor',
      'total us',
      'in step us',
      'share %',
    ],
  ])
  assert.equal(words(norm), ['norm', '4', '2', '4', '2', '1', '2', '8', '1', '4'])
  assert.equal(words(attention), ['attention', '2', '30', '90', '3', '20', '1.50', '60', '25', '50'])
  assert.equal(words(sum), ['sum', '108', '92'])
  assert.equal(words(layers).slice(0, 3), ['layers as one', '1', '60'])
  assert.equal(words(step).slice(0, 3), ['step as one', '1', '100'])
  const [, one, many] = summaryText(rows).split('\n')
  assert.match(one!, /w4a8 kv4 +1 +1280 +0 +0\.10 +0\.07 +1\.45 +0\.06 +0\.11 +10000$/)
  assert.match(many!, /1280 +20 .* 640000$/)
})

test('newer rows take the place of all rows of their step', () => {
  const newer = rows.filter(({ batch, kernel }) => batch === 64 && kernel !== 'norm')
  const merged = mergeRows(rows, newer)
  assert.is(merged.length, rows.length - 1)
  assert.equal(merged.slice(0, 5), rows.slice(0, 5))
})

test('rows that a run did not measure say which run they are from', () => {
  const [monday, tuesday] = ['monday', 'tuesday'].map((date) => ({ date, commit: date }))
  const ofRun = (run: typeof monday) => rows.map((row) => ({ ...row, run: run! }))
  assert.equal(markEarlier(ofRun(tuesday), 'tuesday'), rows)
  assert.equal(markEarlier([...ofRun(monday), ...rows], 'tuesday'), [...ofRun(monday), ...rows])
})

test('the bars show the sums of groups of kernels in units of the floor, and the page needs nothing else', () => {
  const [one] = stepsOf(rows)
  assert.is(groupTimes(one!)[0], 60)
  assert.is(
    groupTimes(one!).reduce((a, b) => a + b),
    108,
  )
  assert.match(stepBars([one!], 'a'), /<title>attention: 60 µs, 60 % of the step<\/title>/)
  assert.is(stepBars([{ ...one!, step: { ...one!.step!, floorUs: null } }], 'a'), '')
  const header = {
    ...{ command: '', date: '2026-11-21T00:00:00.000Z', commit: null, device: 'A <GPU> & more', cpu: '' },
    ...{ driver: null, smClockMHz: null },
  }
  const attention = {
    kernel: 'decode',
    kv: 'kv4',
    batch: 64,
    context: 1024,
    queries: 1,
    even: false,
    tflops: null,
  }
  const sections = [attentionSection([{ ...attention, us: 20, floorUs: 15, tbPerS: 3.5 }])]
  const page = layerPage(header, rows, ceilings['nvidia-h200'], sections)
  assert.match(page, /<h1>Decode steps on A &lt;GPU&gt; &amp; more<\/h1>/)
  assert.not.match(page, /(src|href)=|<script|NaN|undefined|Infinity/)
  assert.is(page.match(/<svg/g)!.length, page.match(/<\/svg>/g)!.length)
  assert.match(
    page,
    /<td>1024 uneven<\/td><td>1<\/td><td>20\.0<\/td><td>15\.0<\/td><td class="share"[^>]*>75<\/td>/,
  )
  assert.is(attentionSection([]), '')
  assert.match(layerPage(header, [], undefined), /Kernel by kernel/)
})

test('the work of a step of Llama 3 8B is that of its shape', () => {
  const config = namedConfig('llama-3-8b')
  const work = stepWork({
    config,
    weights: 'w4a8',
    head: 'w8a8',
    kv: 'kv4',
    batch: 512,
    contextTokens: 512 * 1280,
    logitBytes: 2,
  })
  // 8 heads, a key and a value each, 64 bytes of codes and 4 of parameters.
  assert.is(work.attention!.bytes, 512 * 1280 * 1088 + 2 * 512 * 4096 * 2)
  assert.is(work.gate_up!.ops, 2 * 512 * 28672 * 4096)
  assert.is(work.gate_up!.bytes, (28672 * 4096) / 2 + 28672 * 3 + 512 * (4096 + 8) + 512 * 28672 * 2)
  assert.is(work.silu_mul!.bytes, 512 * (4 * 14336 + 14336 + 8))
  assert.is(work.lm_head!.bytes, 128256 * (4096 + 2) + 512 * (4096 + 8 + 128256 * 2))
  assert.is(work.sample!.bytes, 512 * 128256 * 2)
  const half = stepWork({
    config,
    weights: 'w16',
    head: 'w16',
    kv: 'kv16',
    batch: 1,
    contextTokens: 10,
    logitBytes: 4,
  })
  assert.is(half.attention!.bytes, 10 * 8 * 2 * 256 + 2 * 8192)
  assert.is(half.norm!.bytes, 3 * 8192)
})

test('contexts have the mean that is asked for, and sequences have pages of their own', () => {
  const uneven = contextsOf(64, 1280, 1)
  assert.is(uneven.reduce((a, b) => a + b) / 64, 1280)
  assert.ok(Math.min(...uneven) < 64 && Math.max(...uneven) > 2496)
  assert.equal(contextsOf(2, 7, 0), [7, 7])
})

test('steps on the emulator have a row for each of their kernels, the layers and the whole', async () => {
  const device = openEmulator()
  const config = modelConfig({ heads: 4 })
  const plans = [stepPlan(3, 40, 1), stepPlan(1, 70)]
  const said: string[] = []
  const format = { weights: 'w4a8', head: 'w8a8', kv: 4 } as const
  const measured = await measurePlans(device, config, format, plans, { say: (text) => said.push(text) })
  const steps = stepsOf(measured)
  assert.equal(
    steps.map(({ batch, context, spread, head }) => [batch, context, spread, head]),
    [
      [3, 40, 1, 'w8a8'],
      [1, 70, 0, 'w8a8'],
    ],
  )
  const counts = Object.fromEntries(steps[0]!.kernels.map(({ kernel, launches }) => [kernel, launches]))
  for (const [kernel, count] of Object.entries({
    embed: 1,
    norm: 4,
    qkv: 2,
    attention: 2,
    down: 2,
    lm_head: 1,
  }))
    assert.is(counts[kernel], count, kernel)
  for (const row of measured) assert.ok(row.us > 0, row.kernel)
  assert.match(said[2]!, /1 sequence, context 70/)
  await device.close()
})

test('pages of a step are those of its sequences alone', async () => {
  const device = openEmulator()
  const contexts = contextsOf(3, 40, 1)
  const format = formatOf({ weights: 'w4a8', kv: 4 })
  const model = await loadStack(device, modelConfig(), format, { batch: 3, ...cacheRoom(contexts) })
  assert.is(new Set(decodeInput(model, contexts, 0).slots.map((slot) => slot >> 6)).size, 3)
  model.free()
  await device.close()
})

test.run()
