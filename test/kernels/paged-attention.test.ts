import { test } from 'uvu'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { assertSameInParts } from '../support/batch-invariance.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { runCase } from '../support/run-kernel.ts'
import { pagedAttentionCase } from './cases/kv.ts'

const device = checkedEmulator()

/** Page edges, all as single queries and so in one launch. */
const edges = [1, 63, 64, 65, 130].map((context) => ({ context, queries: 1 }))
const mixed = [
  { context: 5, queries: 5 },
  { context: 130, queries: 1 },
  { context: 70, queries: 9 },
]
const shapes = [
  { D: 64, Hq: 4, Hkv: 2, dtype: 'f16', sequences: edges },
  { D: 64, Hq: 2, Hkv: 2, dtype: 'bf16', sequences: mixed },
  { D: 96, Hq: 3, Hkv: 1, dtype: 'f16', sequences: [{ context: 65, queries: 2 }] },
  { D: 128, Hq: 8, Hkv: 1, dtype: 'bf16', sequences: [{ context: 130, queries: 2 }] },
  { D: 256, Hq: 4, Hkv: 1, dtype: 'f16', sequences: [{ context: 66, queries: 3 }] },
] as const

for (const kv of ['kv16'] satisfies KvFormatName[]) {
  for (const [i, shape] of shapes.entries()) {
    const c = pagedAttentionCase({ ...shape, kv, seed: 20 + i })
    test(c.name, () => runCase(device, c))
  }
}

test('scores so far apart that one token has all the weight', () =>
  runCase(
    device,
    pagedAttentionCase({
      D: 64,
      Hq: 2,
      Hkv: 1,
      kv: 'kv16',
      dtype: 'f16',
      seed: 4,
      sequences: mixed,
      keySigma: 200,
    }),
  ))

test('a token alone, or a prompt in pieces, gives what the whole step gives', async () => {
  const rows = ['q', 'sequence', 'positions', 'out']
  const make = (kv: KvFormatName) =>
    pagedAttentionCase({ D: 64, Hq: 4, Hkv: 2, kv, dtype: 'f16', seed: 6, sequences: mixed })
  await assertSameInParts(device, make('kv16'), rows, ['out'], [0, 2, 9])
})

test.run()
