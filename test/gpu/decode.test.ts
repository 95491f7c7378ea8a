import {
  compileDecode,
  type DecodeOptions,
  decodeName,
  decodeStep,
  outputsOf,
  runDecode,
  runDecodeCase,
} from '../kernels/cases/decode.ts'
import { anyGpu, someOf, testOnGpu } from '../support/gpu-cases.ts'
import { halfTypes } from '../support/halfs.ts'
import { assertSame } from '../support/run-kernel.ts'

const singles = (...contexts: number[]) => contexts.map((context) => ({ context, queries: 1 }))
const edges = singles(1, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025)
const wide = [
  { context: 8, queries: 8 },
  { context: 0, queries: 0 },
  { context: 130, queries: 3 },
  { context: 1100, queries: 2 },
]
const formats = ['kv4', 'kv8', 'kv16'] as const
const heads = [
  { Hq: 1, Hkv: 1 },
  { Hq: 8, Hkv: 4 },
  { Hq: 3, Hkv: 1 },
  { Hq: 4, Hkv: 1 },
  { Hq: 7, Hkv: 1 },
  { Hq: 16, Hkv: 2 },
  { Hq: 16, Hkv: 1 },
]

/** Decode attention: the cases of the emulator's tests over all head sizes and ratios, and larger batches. */
await testOnGpu('decode attention on CUDA', anyGpu, (_, device, test) => {
  let seed = 1
  // Sequences of two parts, which CTAs that run beside each other have.
  const cases: DecodeOptions[] = [
    {
      ...{ kv: 'kv4', dtype: 'f16', D: 128, Hq: 4, Hkv: 1, planCtas: 5, ahead: true, seed: 100 },
      sequences: singles(1300, 1900, 1030, 2048, 300, 1024, 1920),
    },
    // Of many parts, whose rows CTAs add up beside each other.
    {
      ...{ kv: 'kv4', dtype: 'f16', D: 128, Hq: 8, Hkv: 2, planCtas: 66, ahead: true, seed: 101 },
      sequences: singles(4300, 2100),
    },
    {
      ...{ kv: 'kv4', dtype: 'f16', D: 64, Hq: 4, Hkv: 1, planCtas: 30, seed: 102 },
      sequences: singles(9100, 20000, 700),
    },
  ]
  for (const kv of formats) {
    for (const D of [64, 96, 128, 256]) {
      // Two programs each: what is compiled is most of the time.
      const [one, other] = [heads[seed % 7]!, heads[(seed + 3) % 7]!]
      const o = { kv, D, dtype: halfTypes[seed % 2]!, seed: seed++ }
      cases.push(
        { ...o, ...one, sequences: edges },
        { ...o, ...one, sequences: edges, ahead: true },
        { ...o, ...other, sequences: wide },
        { ...o, ...other, queries: 8, sequences: singles(1, 65, 130, 1025), window: 100 },
      )
    }
  }
  const every = process.env.QUATTUOR_TEST_EVERY
  const some = someOf(cases, every)
  /** All programs, at the first test's. */
  let compiled: Promise<void> | undefined
  for (const each of some) {
    test(decodeName(each), async () => {
      compiled ??= compileDecode(device, some)
      await compiled
      await runDecodeCase(device, each)
    })
  }
  // Under tools that make the GPU slow these would take too long.
  if (every !== undefined) return
  for (const kv of formats) {
    // Parts are units, units of runs of two, and splits.
    const [planCtas, context] = { kv4: [100, 9000], kv8: [40, 9000], kv16: [40, 36_000] }[kv] as [
      number,
      number,
    ]
    test(`${kv}: a context of many parts`, () =>
      runDecodeCase(device, {
        ...{ kv, D: 64, Hq: 4, Hkv: 1, dtype: 'f16', seed: seed++, planCtas },
        sequences: singles(context),
      }))
    test(`${kv}: a sequence alone gives what it gives among 512`, async () => {
      const o: DecodeOptions = {
        ...{ kv, D: 64, Hq: 4, Hkv: 1, dtype: 'f16', seed: seed++ },
        sequences: Array.from({ length: 512 }, (_, i) => ({
          context: i % 7 === 0 ? 0 : 1 + ((i * 37) % (i % 5 === 0 ? 1500 : 200)),
          queries: i % 7 === 0 ? 0 : 1 + (i % 3 === 0 ? i % 2 : 0),
        })).map((s) => ({ ...s, queries: Math.min(s.queries, s.context) })),
      }
      const step = decodeStep(o)
      const together = await runDecode(device, step)
      for (const s of [1, 5, 100, 255, 256, 510]) {
        const rows = [step.queryStart[s]!, step.queryStart[s + 1]!]
        const alone = await runDecode(device, {
          ...step,
          sequences: [o.sequences[s]!],
          table: step.table.slice(s * step.maxPages, (s + 1) * step.maxPages),
          queryStart: Int32Array.of(0, rows[1]! - rows[0]!),
          context: step.context.slice(s, s + 1),
          q: step.q.slice(rows[0]! * o.Hq * o.D, rows[1]! * o.Hq * o.D),
        })
        assertSame(alone.out, outputsOf(step, together.out, s), o.D, `sequence ${s}`)
      }
    })
  }
})
