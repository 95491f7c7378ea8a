import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import type { Rng } from '../../support/rng.ts'
import { assertSame } from '../../support/run-kernel.ts'
import {
  type DecodeOptions,
  decodeName,
  decodeStep,
  outputsOf,
  runDecode,
  runDecodeCase,
} from '../cases/decode.ts'

const device = checkedEmulator()

const singles = (...contexts: number[]) => contexts.map((context) => ({ context, queries: 1 }))
const empty = { context: 0, queries: 0 }

const cases: DecodeOptions[] = [
  // Edges of pages and units, and slots without a sequence.
  { kv: 'kv4', dtype: 'f16', D: 128, Hq: 4, Hkv: 1, sequences: [...singles(1, 63, 64, 65), empty], seed: 1 },
  { kv: 'kv4', dtype: 'bf16', D: 64, Hq: 2, Hkv: 2, sequences: [empty, ...singles(127, 128, 129)], seed: 2 },
  // Edges of splits, and more than one.
  { kv: 'kv4', dtype: 'f16', D: 64, Hq: 1, Hkv: 1, sequences: singles(1023, 1024, 1025), seed: 3 },
  { kv: 'kv8', dtype: 'f16', D: 64, Hq: 1, Hkv: 1, sequences: singles(2100, 3), seed: 4 },
  // Items of several splits: a sequence in one piece, and cut with parts behind the first item's.
  { kv: 'kv4', dtype: 'f16', D: 64, Hq: 1, Hkv: 1, sequences: singles(1100, 2049), seed: 17, planCtas: 1 },
  { kv: 'kv4', dtype: 'bf16', D: 64, Hq: 1, Hkv: 1, sequences: singles(5300, 40), seed: 18, planCtas: 2 },
  {
    kv: 'kv4',
    dtype: 'f16',
    D: 64,
    Hq: 1,
    Hkv: 1,
    sequences: singles(3300),
    seed: 19,
    planCtas: 1,
    window: 1900,
  },
  // More items than CTAs, which have the last parts of several sequences.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 2, Hkv: 2, planCtas: 400, seed: 22 },
    sequences: singles(300, 1100, 129, 700, 513, 1025, 140, 990, 257, 400),
  },
  // Sequences of two parts, in several formats and with rows that see nothing of one.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 128, Hq: 4, Hkv: 1, planCtas: 5, seed: 26 },
    sequences: singles(1300, 1900, 1030, 2048, 300),
  },
  {
    ...{ kv: 'kv8', dtype: 'bf16', D: 64, Hq: 3, Hkv: 1, planCtas: 4, window: 1700, seed: 27 },
    sequences: singles(1900, 1250, 1990, 200),
  },
  {
    ...{ kv: 'kv16', dtype: 'f16', D: 64, Hq: 2, Hkv: 2, planCtas: 4, seed: 28 },
    sequences: [...singles(2040, 700, 1500), empty],
  },
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 2, Hkv: 1, planCtas: 4, ahead: true, seed: 29 },
    sequences: [...singles(1400, 1100), { context: 1800, queries: 2 }, ...singles(1025)],
  },
  // The first part of two is the last that is attended to.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 2, Hkv: 1, planCtas: 4, reversed: true, seed: 31 },
    sequences: [...singles(1700, 1100), { context: 1290, queries: 2 }, ...singles(70)],
  },
  // Many parts, added up row by row; rows that fill no chunk, and several query tokens.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 3, Hkv: 1, planCtas: 30, seed: 30 },
    sequences: singles(4500, 2900),
  },
  {
    ...{ kv: 'kv8', dtype: 'bf16', D: 96, Hq: 1, Hkv: 1, planCtas: 66, seed: 31 },
    sequences: [{ context: 2470, queries: 3 }, ...singles(300)],
  },
  // Many sequences of a page, whose units are single blocks, several in a row for each CTA.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 8, Hkv: 8, seed: 23 },
    sequences: singles(...Array.from({ length: 24 }, (_, i) => 1 + ((i * 37) % (i % 6 === 5 ? 200 : 64)))),
  },
  {
    ...{ kv: 'kv8', dtype: 'f16', D: 64, Hq: 4, Hkv: 4, seed: 24 },
    sequences: singles(...Array.from({ length: 30 }, (_, i) => 1 + ((i * 29) % 64))),
  },
  {
    ...{ kv: 'kv16', dtype: 'f16', D: 64, Hq: 4, Hkv: 4, seed: 25 },
    sequences: singles(...Array.from({ length: 20 }, (_, i) => 1 + ((i * 29) % 64))),
  },
  // Rows that do not fill a pass, or several; query tokens on both sides of a unit's edge.
  { kv: 'kv4', dtype: 'bf16', D: 64, Hq: 16, Hkv: 1, sequences: singles(70), seed: 5 },
  { kv: 'kv8', dtype: 'bf16', D: 128, Hq: 3, Hkv: 1, sequences: [{ context: 130, queries: 5 }], seed: 6 },
  { kv: 'kv4', dtype: 'f16', D: 96, Hq: 4, Hkv: 2, sequences: [{ context: 131, queries: 8 }], seed: 7 },
  { kv: 'kv4', dtype: 'f16', D: 256, Hq: 2, Hkv: 1, sequences: singles(66), seed: 8 },
  { kv: 'kv8', dtype: 'f16', D: 96, Hq: 1, Hkv: 1, sequences: singles(66), seed: 9 },
  // Sequences with rows in some passes only.
  {
    ...{ kv: 'kv8', dtype: 'f16', D: 64, Hq: 4, Hkv: 2, seed: 16 },
    sequences: [...singles(70, 3), { context: 40, queries: 8 }, ...singles(1)],
  },
  // Windows that begin within a unit, or leave one query token of two nothing of a unit.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 2, Hkv: 1, window: 70, seed: 10 },
    sequences: [{ context: 300, queries: 2 }, ...singles(69, 71)],
  },
  {
    ...{ kv: 'kv8', dtype: 'f16', D: 64, Hq: 1, Hkv: 1, window: 3, seed: 11 },
    sequences: [{ context: 130, queries: 3 }],
  },
  { kv: 'kv16', dtype: 'f16', D: 64, Hq: 4, Hkv: 2, sequences: [...singles(1, 65, 1030), empty], seed: 12 },
  { kv: 'kv16', dtype: 'bf16', D: 96, Hq: 3, Hkv: 1, sequences: [{ context: 129, queries: 3 }], seed: 13 },
  { kv: 'kv16', dtype: 'bf16', D: 128, Hq: 1, Hkv: 1, sequences: singles(200), window: 100, seed: 14 },
  // Launches that begin early: what was there before the step is read before it is known what the step adds.
  {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 2, Hkv: 1, ahead: true, seed: 21 },
    sequences: [...singles(1, 1100, 128), { context: 140, queries: 3 }, empty],
  },
] as DecodeOptions[]
for (const o of cases) test(decodeName(o), () => runDecodeCase(device, o))

// Without copy engine and mbarriers.
const ampere = openEmulator({ checks: true, target: 'sm_80' })
for (const [i, kv] of (['kv4', 'kv8', 'kv16'] as const).entries()) {
  const o: DecodeOptions = {
    ...{ kv, dtype: 'f16', D: 64, Hq: 2, Hkv: 1, seed: 15 + i },
    sequences: [{ context: 140, queries: 2 }, ...singles(1100, 5)],
  }
  test(`sm_80: ${decodeName(o)}`, () => runDecodeCase(ampere, o))
}

/** Vectors of all kinds, by token: constant ones, huge ones, tiny ones, zeros, single spikes. */
function unusual(random: Rng, D: number, token: number): Float64Array {
  const spike = random.integer(0, D - 1)
  return Float64Array.from({ length: D }, (_, i) => {
    switch (token % 6) {
      case 0:
        return 1.5
      case 1:
        return 60000 * (random.uniform() - 0.5)
      case 2:
        return 1e-7 * random.normal()
      case 3:
        return 0
      case 4:
        return i === spike ? 1000 : 0.01 * random.normal()
      default:
        return random.normal()
    }
  })
}
for (const kv of ['kv4', 'kv8'] as const) {
  test(`${kv}: constant, huge, tiny and spiked vectors`, () =>
    runDecodeCase(device, {
      ...{ kv, dtype: 'bf16', D: 64, Hq: 2, Hkv: 1, seed: 20, vector: unusual },
      sequences: singles(1, 131),
    }))
}

test('sequences of more query tokens than are taken are left alone', async () => {
  const step = decodeStep({
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 2, Hkv: 1, queries: 1, seed: 40 },
    sequences: [{ context: 70, queries: 2 }],
  })
  const { out, itemCount } = await runDecode(device, step)
  assert.is(itemCount, 0)
  assert.ok(out.every((bits) => bits === 0x7fff))
})

test('a sequence alone gives what it gives among others, and query tokens one by one what they give together', async () => {
  const o: DecodeOptions = {
    ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 3, Hkv: 1, seed: 30 },
    sequences: [...singles(40, 400), { context: 1200, queries: 4 }, ...singles(129)],
  }
  const all = decodeStep(o)
  const together = await runDecode(device, all)
  for (const [s, sequence] of o.sequences.entries()) {
    for (let i = 0; i < sequence.queries; i++) {
      const first = all.queryStart[s]! + i
      const alone = await runDecode(device, {
        ...all,
        sequences: [{ context: sequence.context - sequence.queries + 1 + i, queries: 1 }],
        table: all.table.slice(s * all.maxPages, (s + 1) * all.maxPages),
        queryStart: Int32Array.of(0, 1),
        context: Int32Array.of(sequence.context - sequence.queries + 1 + i),
        q: all.q.slice(first * o.Hq * o.D, (first + 1) * o.Hq * o.D),
      })
      const expected = outputsOf(all, together.out, s).subarray(i * o.Hq * o.D, (i + 1) * o.Hq * o.D)
      assertSame(alone.out, expected, o.D, `sequence ${s}, query ${i}`)
    }
  }
})

test.run()
