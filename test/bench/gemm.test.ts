import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { benchFormats } from '../../bench/gemm/formats.ts'
import { spread } from '../../bench/gemm/line-chart.ts'
import { measureCell } from '../../bench/gemm/measure.ts'
import { Problem } from '../../bench/gemm/problem.ts'
import { bestOf, layerBest, rivals } from '../../bench/gemm/rivals.ts'
import { type GemmRow, mergeRows, type RivalRow } from '../../bench/gemm/rows.ts'
import { bestVariants, cudaRunner, torchRunner } from '../../bench/gemm/run-rivals.ts'
import { Store } from '../../bench/gemm/store.ts'
import type { ResultHeader } from '../../bench/results.ts'
import { defaultTiles } from '../../kernels/gemm/mma-tiles.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { WrongResult } from '../../runtime/tune/bench.ts'
import { smallWgmmaTiles } from '../kernels/cases/gemm-fp8.ts'

const device = openEmulator()
test.after(() => device.close())

/** Some strips of 64 rows, the last not whole. */
const shape = { n: 200, k: 256 }

for (const format of benchFormats) {
  test(`${format.name}: what the kernel gives passes the check, and a wrong element or one left out does not`, async () => {
    const problem = new Problem(device, format, [{ ...shape, tokens: 9 }])
    for (const tokens of [9, 2]) {
      const cell = { ...shape, tokens }
      const tiles = format.name.endsWith('fp8')
        ? smallWgmmaTiles
        : defaultTiles(format.weights, { M: tokens, N: shape.n, K: shape.k }, device.target)
      const prepared = await problem.prepare(cell, tiles, false)
      await problem.check(cell, prepared)
      const out = problem.out(cell)
      const values = (await out.read()) as Uint16Array
      // Half of the elements with the other sign.
      out.write(values.map((value, i) => (i % 2 === 0 ? value : value ^ 0x8000)))
      await rejects(problem.compare(cell), /must be/)
      out.write(values.with(3, 0xffff))
      await rejects(problem.compare(cell), /out\[0, 3\] was not written/)
    }
    problem.free()
  })
}

async function rejects(promise: Promise<void>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, WrongResult)
  assert.match((error as Error).message, message)
}

test('rows that a run leaves as they were keep the run that they come from', () => {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-gemm-'))
  try {
    const path = join(folder, 'gemm.json')
    const row = (tokens: number): GemmRow => ({
      ...{ format: 'w4a8', group: 0, n: 64, k: 128, tokens, us: tokens + 0.5, usChained: null },
      ...{ tops: 1, tbPerS: 1, floorUs: 1, registers: 64, config: {} },
    })
    const header = (day: number): ResultHeader => ({
      ...{ command: 'npm run bench:gemm', date: `2026-01-0${day}`, commit: `c${day}`, device: 'GPU' },
      ...{ cpu: '2 x CPU', driver: null, smClockMHz: null },
    })
    const runsOf = (): readonly unknown[] =>
      JSON.parse(readFileSync(path, 'utf8')).rows.map(({ run }: GemmRow) => run?.commit)
    for (const [day, tokens] of [
      [1, [1, 16, 64]],
      [2, [16, 64]],
      [3, [64]],
    ] as const) {
      const store = new Store(path, join(folder, 'rivals.json'))
      store.add(tokens.map(row))
      store.write(header(day))
    }
    assert.equal(runsOf(), ['c1', 'c2', undefined])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a cell is timed and described', async () => {
  const [format] = benchFormats
  const cell = { ...shape, tokens: 2 }
  const problem = new Problem(device, format!, [cell])
  const tiles = defaultTiles(format!.weights, { M: 2, N: shape.n, K: shape.k }, device.target)
  const row = await measureCell(problem, cell, tiles, 0)
  assert.equal([row.format, row.group, row.n, row.k, row.tokens], ['w4a8', 0, 200, 256, 2])
  assert.ok(row.us! > 0)
  // Strips of 64 rows, 4 bits an element; scales and zero points; two tokens with scale and sum; the output.
  const bytes = (256 * 256) / 2 + 200 * (2 + 1) + 2 * (256 + 4 + 4) + 2 * 2 * 200
  assert.ok(Math.abs(row.tbPerS! - bytes / row.us! / 1e6) < 1e-9)
  assert.ok(Math.abs(row.tops! - (2 * 2 * 200 * 256) / row.us! / 1e6) < 1e-9)
  problem.free()
})

test('rivals run in turns with ours: one program for each number of tokens, and one that goes on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-rivals-'))
  const program = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, `#!/bin/sh\n${text}`)
    chmodSync(path, 0o755)
    return path
  }
  const row = '"n": 200, "k": 256, "tokens": %s'
  const cuda = cudaRunner(
    program(
      'cuda',
      `printf '{"rows": [{"format": "w4a8", "group": 128, ${row}, "us": 5.5, "usChained": 4.5}]}' "$2" > "$8"; exit 1\n`,
    ),
    [shape],
    0,
  )
  const torch = await torchRunner(
    program(
      'python',
      `echo ready; while read -r tokens file; do printf '{"rows": [{"source": "cublas", "format": "fp8", ${row}, ` +
        `"us": 7.5}]}' "$tokens" > "$file"; echo done; done\n`,
    ),
    [shape],
    0,
  )
  for (const tokens of [1, 16]) {
    const cell = { ...shape, tokens }
    assert.equal(await cuda.run(tokens), [
      { source: 'cuda', format: 'w4a8', group: 128, ...cell, variant: null, us: 5.5, usChained: 4.5 },
    ])
    assert.equal(await torch.run(tokens), [
      { source: 'cublas', format: 'fp8', group: 0, ...cell, variant: null, us: 7.5, usChained: null },
    ])
  }
  await Promise.all([cuda.close(), torch.close()])
  const failing = (python: string) =>
    torchRunner(python, [shape], 0).then(
      () => '',
      (error: Error) => error.message,
    )
  assert.match(
    await failing(program('broken', 'echo no module named torch >&2\n')),
    /cannot be measured: no module named torch/,
  )
  assert.match(await failing(join(folder, 'absent')), /ENOENT; name a Python that has PyTorch/)
  rmSync(folder, { recursive: true })
})

test('the fastest of each rival counts, sums are those of whole layers, and newer rows replace older ones', () => {
  const cells = [
    { n: 64, k: 128, tokens: 1 },
    { n: 128, k: 128, tokens: 1 },
  ]
  const row = (
    cell: number,
    us: number,
    usChained: number | null,
    source: RivalRow['source'] = 'cuda',
  ): RivalRow => ({
    ...cells[cell]!,
    ...{ source, format: source === 'cuda' ? 'w4a8' : 'f16', group: 0, variant: null, us, usChained },
  })
  const rows = [row(0, 5, 4.5), row(0, 6, 4), row(1, 10, null), row(1, 3, null, 'cublas')]
  assert.equal(bestOf(rivals.cuda, cells[0]!, rows), { us: 5, usChained: 4 })
  assert.equal(layerBest(rivals.cuda, cells, rows), { us: 15, usChained: 14 })
  assert.is(layerBest(rivals.f16, cells, rows), null)
  const named = (tokens: number, variant: string | null): RivalRow => ({ ...row(0, 1, 1), tokens, variant })
  const variants = [named(16, 'a b'), named(16, 'a'), named(64, 'c'), named(256, 'd'), named(512, null)]
  assert.equal(bestVariants(variants, 16), ['a', 'b'])
  assert.equal(bestVariants(variants, 32), ['a', 'b', 'c'])
  assert.equal(bestVariants(variants, 1), ['a', 'b'])
  assert.equal(bestVariants(variants, 4096), ['d'])
  assert.equal(mergeRows(rows, [row(0, 7, 6)]), [rows[2], rows[3], row(0, 7, 6)])
})

test('labels keep their order and their distance, and move no further than they must', () => {
  const number = fc.double({ noNaN: true, min: 0, max: 300 })
  fc.assert(
    fc.property(fc.array(number, { minLength: 1, maxLength: 12 }), (places) => {
      const moved = spread(places, 0, 300)
      const order = places.map((_, i) => i).sort((a, b) => places[a]! - places[b]!)
      for (const [rank, i] of order.slice(1).entries())
        assert.ok(moved[i]! - moved[order[rank]!]! >= 15 - 1e-9)
      assert.ok(Math.min(...moved) >= 0 && Math.max(...moved) <= 300)
      const apart = order.slice(1).every((i, rank) => places[i]! - places[order[rank]!]! >= 15)
      if (apart) assert.equal(moved, places)
    }),
  )
})

test.run()
