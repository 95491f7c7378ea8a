import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { RecordFile } from '../../../runtime/tune/record-file.ts'
import { nearestWinner, type RunFacts, shapeDistance } from '../../../runtime/tune/records.ts'
import { readTuned, recordPath } from '../../../runtime/tune/tuned.ts'
import { cell, fakeFacts } from '../../support/fake-tuning.ts'
import { temporaryFolder } from '../../support/run-cli.ts'

/** Records: for each shape the configurations by time, in a file of a GPU in a folder. */
function writeRecords(
  folder: string,
  slug: string,
  cells: readonly (readonly [M: number, N: number, K: number, ...names: string[]])[],
  facts: Partial<RunFacts> = {},
) {
  const file = new RecordFile(recordPath(folder, slug, 'w4a8'))
  file.begin({ ...fakeFacts, ...facts })
  for (const [M, N, K, ...names] of cells) {
    const timings = names.map((name, i) => ({
      program: file.program({
        config: { name },
        registers: 40,
        spills: 0,
        shared: 1024,
        ptxHash: `hash ${name}`,
      }),
      us: 10 + i,
      interval: null,
    }))
    file.cell({ N, K, M }, timings)
  }
}

const anything = () => true

test('distance is in doublings, all extents together', () => {
  assert.is(shapeDistance(cell(16), cell(16)), 0)
  assert.is(shapeDistance(cell(16), cell(64)), 2)
  assert.is(shapeDistance({ N: 1024, K: 4096, M: 8 }, { N: 4096, K: 1024, M: 4 }), 5)
  assert.is(shapeDistance({ N: 1024 }, { K: 1024 }), Number.POSITIVE_INFINITY)
})

test('the very shape wins, then the nearest that has a configuration which fits', () => {
  const folder = temporaryFolder()
  writeRecords(folder, 'gpu', [
    [16, 4096, 4096, 'exact', 'second'],
    [64, 4096, 4096, 'more tokens'],
    [16, 6144, 4096, 'wider'],
    [16, 4096, 14336, 'longer'],
  ])
  const tuned = readTuned([folder], 'gpu', 'sm_80', 'w4a8')
  const name = (M: number, N: number, K: number, accept = anything as (c: unknown) => boolean) =>
    tuned.winner({ M, N, K }, accept)?.record.config.name
  assert.is(name(16, 4096, 4096), 'exact')
  assert.is(tuned.winner(cell(16), anything)!.distance, 0)
  assert.is(name(48, 4096, 4096), 'more tokens')
  assert.is(name(20, 4096, 4096), 'exact')
  assert.is(name(16, 7168, 4096), 'wider')
  assert.is(name(8, 4096, 11008), 'longer')
  const records = new RecordFile(recordPath(folder, 'gpu', 'w4a8')).records()
  const not = (...refused: string[]) =>
    nearestWinner(records, cell(17), ({ name }) => !refused.includes(String(name)))?.record.config.name
  assert.is(not('exact'), 'second')
  assert.is(not('exact', 'second'), 'wider', 'half a doubling is nearer than two')
  assert.is(not('exact', 'second', 'wider', 'more tokens', 'longer'), undefined)
})

test('says which token counts were tuned for a product', () => {
  const folder = temporaryFolder()
  writeRecords(folder, 'gpu', [
    [64, 4096, 4096, 'a'],
    [1, 4096, 4096, 'a'],
    [48, 4096, 4096, 'a'],
    [16, 6144, 4096, 'a'],
  ])
  const tuned = readTuned([folder], 'gpu', 'sm_80', 'w4a8')
  assert.equal(tuned.tunedValues('M', { N: 4096, K: 4096 }), [1, 48, 64])
  assert.equal(tuned.tunedValues('M', { N: 4096, K: 8192 }), [])
})

test('another GPU serves where there are none of this one, if it has the same instruction set', () => {
  const folder = temporaryFolder()
  writeRecords(folder, 'other', [[16, 4096, 4096, 'relative']])
  writeRecords(folder, 'older', [[16, 4096, 4096, 'foreign']], { target: 'sm_90a' })
  assert.is(
    readTuned([folder], 'gpu', 'sm_80', 'w4a8').winner(cell(16), anything)!.record.config.name,
    'relative',
  )
  assert.is(readTuned([folder], 'gpu', 'sm_89', 'w4a8').winner(cell(16), anything), undefined)
  writeRecords(folder, 'gpu', [[4096, 4096, 4096, 'own']])
  assert.is(readTuned([folder], 'gpu', 'sm_80', 'w4a8').winner(cell(16), anything)!.record.config.name, 'own')
})

test("a user's own records count before those that are shipped, and estimates never do", () => {
  const [own, shipped] = [temporaryFolder(), temporaryFolder()]
  writeRecords(shipped, 'gpu', [
    [16, 4096, 4096, 'shipped'],
    [64, 4096, 4096, 'shipped too'],
  ])
  writeRecords(own, 'gpu', [[16, 4096, 4096, 'mine']])
  const tuned = readTuned([own, join(shipped, 'nowhere'), shipped], 'gpu', 'sm_80', 'w4a8')
  assert.is(tuned.winner(cell(16), anything)!.record.config.name, 'mine')
  assert.is(tuned.winner(cell(64), anything)!.record.config.name, 'shipped too')
  const estimates = temporaryFolder()
  writeRecords(estimates, 'gpu', [[16, 4096, 4096, 'guess']], { status: 'unmeasured' })
  assert.is(readTuned([estimates], 'gpu', 'sm_80', 'w4a8').winner(cell(16), anything), undefined)
})

test.run()
