import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { pagedAttentionCase } from '../kernels/cases/kv.ts'
import { assertSameInParts } from '../support/batch-invariance.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'
import { halfTypes } from '../support/halfs.ts'

const heads = [
  { Hq: 1, Hkv: 1 },
  { Hq: 3, Hkv: 3 },
  { Hq: 8, Hkv: 4 },
  { Hq: 4, Hkv: 1 },
  { Hq: 7, Hkv: 1 },
  { Hq: 16, Hkv: 2 },
]
const mixed = [
  { context: 1, queries: 1 },
  { context: 63, queries: 1 },
  { context: 64, queries: 64 },
  { context: 65, queries: 1 },
  { context: 130, queries: 17 },
  { context: 700, queries: 1 },
]
const KV = ['kv16'] satisfies KvFormatName[]

/** The cache and attention on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('attention on CUDA', anyGpu, (add, device, test) => {
  let seed = 1
  for (const kv of KV) {
    for (const D of [64, 96, 128, 256]) {
      for (const { Hq, Hkv } of heads) {
        const o = { kv, D, Hq, Hkv, dtype: halfTypes[seed % 2]!, seed: seed++ }
        const name = `${kv} D=${D} heads ${Hq}/${Hkv} ${o.dtype}`
        add(`pagedAttention ${name}`, () => pagedAttentionCase({ ...o, sequences: mixed }))
      }
    }
    add(`pagedAttention ${kv} of one token's weight`, () =>
      pagedAttentionCase({
        kv,
        D: 128,
        Hq: 4,
        Hkv: 2,
        dtype: 'f16',
        seed: seed++,
        sequences: mixed,
        keySigma: 200,
      }),
    )
    test(`pagedAttention ${kv}: a token alone, or a prompt in pieces, gives what the whole step gives`, () => {
      const c = pagedAttentionCase({
        kv,
        D: 128,
        Hq: 8,
        Hkv: 2,
        dtype: 'f16',
        seed: seed++,
        sequences: mixed,
      })
      const rows = ['q', 'sequence', 'positions', 'out']
      return assertSameInParts(device, c, rows, ['out'], [0, 1, 2, 3, 20, 66, 67, 80, 84])
    })
  }
})
