import { inPieces, type PrefillOptions, prefillCase } from '../kernels/cases/prefill.ts'
import { hopperGpu, testOnGpu } from '../support/gpu-cases.ts'
import { assertSame, runKernel } from '../support/run-kernel.ts'

const heads = [
  { Hq: 1, Hkv: 1 },
  { Hq: 5, Hkv: 1 },
  { Hq: 16, Hkv: 1 },
]
const mixed = [
  { context: 64, queries: 64 },
  { context: 5, queries: 0 },
  { context: 1, queries: 1 },
  { context: 63, queries: 9 },
  { context: 1090, queries: 20 },
  { context: 65, queries: 65 },
  { context: 129, queries: 128 },
  { context: 300, queries: 130 },
]
/** One prompt in pieces. */
const pieces = [
  { context: 700, queries: 700 },
  { context: 1500, queries: 800 },
  { context: 1533, queries: 33 },
  { context: 2304, queries: 771 },
]
/** Small enough for tools that are slower by orders of magnitude; still three units, and several tiles a CTA. */
const few = [
  { context: 290, queries: 40 },
  { context: 7, queries: 7 },
]
const some = (every: number) => (token: number, head: number) => (7 * token + 3 * head) % every === 0

/** Prefill attention on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('prefill attention on CUDA', hopperGpu, (add, device, test) => {
  let seed = 1
  const addCase = (o: Omit<PrefillOptions, 'seed' | 'dtype'>) => {
    const options = { ctas: 7, ...o, dtype: 'f16' as const, seed: seed++ }
    const { kv, D, Hq, Hkv, dtype, window } = options
    const queries = o.sequences.reduce((sum, each) => sum + each.queries, 0)
    const name = `${kv} D=${D} heads ${Hq}/${Hkv} ${dtype} window ${window ?? 'none'}, ${o.sequences.length} sequences of ${queries} tokens`
    add(name, () => prefillCase(options))
  }
  // Programs take seconds to compile, so that cases share them.
  for (const kv of ['kv4', 'kv8'] as const) {
    for (const D of [64, 96]) addCase({ kv, D, Hq: 6, Hkv: 2, sequences: mixed, compared: some(13) })
    for (const each of heads) addCase({ kv, D: 128, ...each, sequences: mixed, compared: some(13) })
    const grouped = { kv, D: 128, Hq: 8, Hkv: 2 } as const
    for (const window of [1, 100, 129]) addCase({ ...grouped, sequences: mixed, window, compared: some(13) })
    addCase({ ...grouped, sequences: few, ctas: 2 })
    addCase({ ...grouped, sequences: pieces, compared: some(149) })
    addCase({ ...grouped, sequences: mixed, keySigma: 200, compared: some(13) })
    addCase({ ...grouped, sequences: [{ context: 4200, queries: 70 }], compared: some(23) })
    addCase({ ...grouped, sequences: pieces.slice(2), turns: false, compared: some(149) })
  }
  for (const kv of ['kv4', 'kv8'] as const) {
    for (const window of [undefined, 1000]) {
      const of = window ? `with a window of ${window} ` : ''
      test(`a row of ${kv} ${of}has the same bits in whatever piece of its prompt it comes`, async () => {
        const sequences = [{ context: 3000, queries: 3000 }]
        const o = {
          kv,
          D: 128,
          Hq: 8,
          Hkv: 2,
          dtype: 'bf16' as const,
          sequences,
          window,
          ctas: 7,
          seed: seed++,
        }
        const whole = prefillCase(o)
        const outOf = async (c: typeof whole) => (await runKernel(device, c.kernel, c.config, c.args)).out!
        const expected = await outOf(whole)
        for (const pieces of [Array<number>(30).fill(100), [1, 2047, 33, 919], [2999, 1]])
          assertSame(await outOf(inPieces(whole, o, pieces)), expected, o.Hq * o.D)
      })
    }
  }
})
