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
      return { queries, context: queries + random.integer(0, 3000) }
    })
    sequences.push({ queries: 40, context: 200_000 })
    const starts = startsOf(sequences)
    const room = mostPrefillTiles(starts.at(-1)!, sequences.length, tileTokens)
    const config = { queries: 8, tileTokens }
    const { tiles, tileCount } = await runKernel(device, planPrefill, config, {
      queryStart: { dtype: 'i32', shape: [starts.length], data: Int32Array.from(starts) },
      context: {
        dtype: 'i32',
        shape: [sequences.length],
        data: Int32Array.from(sequences, ({ context }) => context),
      },
      window,
      tiles: { dtype: 'i32', shape: [room, 2], data: new Int32Array(2 * room) },
      tileCount: { dtype: 'i32', shape: [1] },
    })
    const expected = prefillTilesReference(sequences, config, window)
    assert.is(tileCount![0], expected.length)
    assert.ok(expected.length <= room)
    const unitsOf = new Map(
      expected.map((tile) => [`${tile.sequence} ${tile.first}`, Math.min(tile.units, 1024)]),
    )
    const listed = expected.map((_, i) => `${tiles![2 * i]} ${tiles![2 * i + 1]}`)
    assert.is(new Set(listed).size, expected.length)
    const lengths = listed.map((key) => unitsOf.get(key)!)
    lengths.forEach((length, i) => {
      assert.ok(length > 0 && (i === 0 || length <= lengths[i - 1]!))
    })
  })
}

test.after(() => device.close())
test.run()
