import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  mostPrefillTiles,
  planPrefill,
  prefillTilesReference,
} from '../../../kernels/attention/prefill-plan.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'
import { startsOf } from '../cases/prefill.ts'

const device = checkedEmulator()

for (const [seed, window, tileTokens] of [
  [1, 2 ** 30, 32],
  [2, 300, 42],
  [3, 1, 128],
] as const) {
  test(`planPrefill lists every tile once, longest first: window ${window}, tiles of ${tileTokens}`, async () => {
    const random = rng(seed)
    const sequences = Array.from({ length: 37 }, () => {
      const queries = random.uniform() < 0.3 ? random.integer(0, 9) : random.integer(9, 900)
      return { queries, context: queries + random.integer(0, 3000), generated: random.uniform() < 0.3 }
    })
    sequences.push({ queries: 40, context: 200_000, generated: false })
    const starts = startsOf(sequences)
    const room = mostPrefillTiles(starts.at(-1)!, sequences.length, tileTokens)
    const config = { tileTokens }
    const { tiles, tileCount, taken } = await runKernel(device, planPrefill, config, {
      queryStart: { dtype: 'i32', shape: [starts.length], data: Int32Array.from(starts) },
      context: {
        dtype: 'i32',
        shape: [sequences.length],
        data: Int32Array.from(sequences, ({ context }) => context),
      },
      prompts: {
        dtype: 'i32',
        shape: [sequences.length],
        data: Int32Array.from(sequences, ({ generated }) => (generated ? 0 : 1)),
      },
      window,
      tiles: { dtype: 'i32', shape: [room, 8], data: new Int32Array(8 * room) },
      tileCount: { dtype: 'i32', shape: [1] },
      taken: { dtype: 'i32', shape: [1], data: Int32Array.of(77) },
    })
    const expected = prefillTilesReference(sequences, config, window)
    assert.is(tileCount![0], expected.length)
    assert.is(taken![0], 0)
    assert.ok(expected.length <= room)
    const words = Array.from(tiles!.subarray(0, 8 * expected.length) as Int32Array)
    const listed = expected.map((_, i) => words.slice(8 * i, 8 * i + 8))
    const named = (list: number[][]) => list.map((tile) => tile.join(' ')).sort()
    assert.equal(named(listed), named(expected))
    const lengths = listed.map((tile) => Math.min(tile[6]! - tile[5]!, 1023))
    assert.equal(
      lengths,
      lengths.toSorted((x, y) => y - x),
    )
  })
}

test.after(() => device.close())
test.run()
