import { test } from 'uvu'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { runCase } from '../support/run-kernel.ts'
import { ropeAppendCase } from './cases/rope-append.ts'

const device = checkedEmulator()
const ones = (n: number) => Array<number>(n).fill(1)

/** Steps that decode, that fill, and that do both; what models differ in. */
const shapes = [
  { runs: [1], D: 64, Hq: 4, Hkv: 2 },
  { runs: ones(7), D: 64, R: 16, Hq: 3, Hkv: 3 },
  { runs: [21], D: 96, Hq: 4, Hkv: 1, norm: true },
  { runs: [...ones(2), 40], D: 128, Hq: 2, Hkv: 1, hadamard: true, keyMean: true },
  { runs: [64, 3], D: 128, R: 96, Hq: 7, Hkv: 1, keyMean: true },
  { runs: [5, ...ones(3)], D: 256, R: 64, Hq: 16, Hkv: 1, norm: true, hadamard: true },
  { runs: [9], D: 64, R: 32, Hq: 8, Hkv: 8, hadamard: true },
  { runs: [6], D: 128, Hq: 2, Hkv: 2, kvClip: 0.93 },
] as const

for (const kv of ['kv4', 'kv8', 'kv16'] satisfies KvFormatName[]) {
  for (const [i, shape] of shapes.entries()) {
    const dtype = i % 2 === 0 ? 'f16' : 'bf16'
    const c = ropeAppendCase({ ...shape, kv, dtype, seed: 10 + i })
    test(c.name, () => runCase(device, c))
  }
}

test.run()
