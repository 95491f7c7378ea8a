import { test } from 'uvu'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { runCase } from '../support/run-kernel.ts'
import { ropeAppendCase } from './cases/kv.ts'

const device = checkedEmulator()

const shapes = [
  { T: 1, D: 64, Hq: 4, Hkv: 2 },
  { T: 17, D: 64, Hq: 3, Hkv: 3 },
  { T: 3, D: 96, Hq: 4, Hkv: 1 },
  { T: 17, D: 128, Hq: 2, Hkv: 1 },
  { T: 3, D: 256, Hq: 8, Hkv: 1 },
] as const

for (const kv of ['kv4', 'kv8', 'kv16'] satisfies KvFormatName[]) {
  for (const [i, shape] of shapes.entries()) {
    const dtype = i % 2 === 0 ? 'f16' : 'bf16'
    const c = ropeAppendCase({ ...shape, kv, dtype, seed: 10 + i })
    test(c.name, () => runCase(device, c))
  }
}

test.run()
