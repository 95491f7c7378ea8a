import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { atomicAdd, blockIdx, type InOut, i32, kernel, range } from '../../../dsl/index.ts'
import { firstPiece, firstSharer, forEachPiece, runEnds } from '../../../dsl/std/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = openEmulator({ checks: true, schedule: 'shuffled', seed: 1 })

interface Extents {
  readonly rows: number
  readonly tokens: number
  readonly steps: number
  readonly pieces: number
  readonly ctas: number
}

/** Device: says that something is not as it should be. */
const bad = (wrong: InOut<i32, '1'>): void => {
  atomicAdd(wrong, [0], i32(1))
}

/** Counts who takes which step, and compares each piece with what the library says of it. */
const walk = kernel(
  import.meta.url,
  { grid: (_, c: Extents) => [c.ctas], block: [1] },
  function walk(
    a: { taken: InOut<i32, 'Tiles Steps'>; wrong: InOut<i32, '1'>; whole: InOut<i32, '1'> },
    c: Extents,
  ) {
    const tiles = { rows: i32(c.rows), tokens: i32(c.tokens), steps: i32(c.steps), pieces: c.pieces }
    let count: i32 = 0
    let sharedCount: i32 = 0
    forEachPiece(tiles, ({ row, token, piece }) => {
      const cta = blockIdx.x
      for (const step of range(piece.begin, piece.end)) {
        atomicAdd(a.taken, [row * c.tokens + token, step], i32(1))
      }
      if (count === 0) {
        const first = firstPiece(tiles)
        if (first.row !== row || first.token !== token || first.piece.begin !== piece.begin) bad(a.wrong)
        if (first.piece.end !== piece.end) bad(a.wrong)
      }
      if (piece.shared < 0) {
        atomicAdd(a.whole, [0], i32(1))
        if (piece.begin !== 0 || piece.end !== c.steps) bad(a.wrong)
      } else {
        const run = runEnds(tiles)
        const first = firstSharer(tiles, piece.shared)
        if (cta < first || (piece.begin === 0) !== (cta === first)) bad(a.wrong)
        // The end of a run comes first, and its begin last.
        if (sharedCount === 0 && piece.end !== (run.end === 0 ? c.steps : run.end)) bad(a.wrong)
        if (sharedCount === 1 && (piece.begin !== run.begin || piece.end !== c.steps)) bad(a.wrong)
        sharedCount += 1
      }
      count += 1
    })
  },
)

const check = async (c: Extents): Promise<void> => {
  const count = c.rows * c.tokens
  const { taken, wrong, whole } = await runKernel(device, walk, c, {
    taken: { dtype: 'i32', shape: [count, c.steps], data: new Int32Array(count * c.steps) },
    wrong: { dtype: 'i32', shape: [1], data: new Int32Array(1) },
    whole: { dtype: 'i32', shape: [1], data: new Int32Array(1) },
  })
  assert.is(wrong![0], 0, 'pieces that are not as firstPiece, firstSharer and runEnds say')
  assert.equal([...new Set(taken! as Int32Array)], [1], 'each step is taken once')
  assert.is(whole![0], count - (count % c.ctas))
}

test('every step of every tile is somebody’s, and whole waves are of whole tiles', async () => {
  const random = rng(3)
  for (let i = 0; i < 12; i++) {
    const [rows, tokens, steps] = [random.integer(1, 9), random.integer(1, 5), random.integer(1, 12)]
    await check({
      rows,
      tokens,
      steps,
      pieces: random.integer(2, 5),
      ctas: random.integer(1, rows * tokens + 9),
    })
  }
})

test('few tiles left are for few CTAs, and a tile of one step is nobody’s to share', async () => {
  await check({ rows: 7, tokens: 1, steps: 40, pieces: 2, ctas: 6 })
  await check({ rows: 3, tokens: 1, steps: 1, pieces: 4, ctas: 9 })
})

test.run()
