import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { ropeAppendCase } from '../kernels/cases/rope-append.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'
import { halfTypes } from '../support/halfs.ts'

const ones = (n: number) => Array<number>(n).fill(1)
const steps = [[1], ones(50), [90], [...ones(3), 64, ...ones(2), 33, 2]]
const heads = [
  { Hq: 1, Hkv: 1 },
  { Hq: 3, Hkv: 3 },
  { Hq: 8, Hkv: 4 },
  { Hq: 7, Hkv: 1 },
  { Hq: 16, Hkv: 1 },
  { Hq: 32, Hkv: 8 },
]
const transforms = [{}, { norm: true }, { hadamard: true }, { keyMean: true, hadamard: true, norm: true }]
const KV = ['kv4', 'kv8', 'kv16'] satisfies KvFormatName[]

/** Rotation and append on a GPU: the cases of the emulator's test at more and larger shapes. */
await testOnGpu('rotation and append on CUDA', anyGpu, (add) => {
  let seed = 1
  for (const kv of KV) {
    for (const D of [64, 96, 128, 256]) {
      for (const { Hq, Hkv } of heads) {
        const transform = transforms[seed % 4]!
        const o = {
          ...(D === 96 ? { norm: transform.norm } : transform),
          ...{ kv, D, R: seed % 5 < 2 ? D / 2 : D, Hq, Hkv, dtype: halfTypes[seed % 2]! },
          runs: steps[seed % 3 === 0 ? 3 : seed % 4]!,
          seed: seed++,
        }
        add(`${JSON.stringify({ ...o, runs: o.runs.length })}`, () => ropeAppendCase(o))
      }
    }
  }
})
