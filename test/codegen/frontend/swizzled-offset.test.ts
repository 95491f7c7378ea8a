import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  barrier,
  type i32,
  kernel,
  type Layout,
  type Out,
  overlay,
  range,
  rowMajor,
  shared,
  swizzle,
  swizzled,
  threadIdx,
  unroll,
  xorSwizzle,
} from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

/** An access of each thread: row `(tid >> half) * rowBy + row`, column `(tid & (2^half - 1)) * columnBy + column`. */
interface Access {
  readonly half: number
  readonly rowBy: number
  readonly row: number
  readonly columnBy: number
  readonly column: number
}

interface Config {
  readonly swizzle: 0 | 32 | 64 | 128
  /** A swizzle of other figures in place of it. */
  readonly xor: readonly [bits: number, base: number, shift: number] | null
  readonly columns: number
  readonly accesses: readonly Access[]
}

const rows = 64

const layoutOf = (c: Config): Layout =>
  swizzled(rowMajor([rows, c.columns]), c.xor ? xorSwizzle(...c.xor) : swizzle(c.swizzle, 32))

/** Writes row and column of each access where the tile's layout puts it, and shows the memory. */
const place = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function place(a: { out: Out<i32, 'N'> }, c: Config) {
    const tile = shared<i32>('i32', layoutOf(c))
    const memory = overlay<i32>(tile, 'i32', [rows * c.columns])
    for (const i of range(threadIdx.x, rows * c.columns, 32)) memory.put(-1, i)
    barrier()
    for (const n of unroll(c.accesses.length)) {
      const { half, rowBy, row, columnBy, column } = c.accesses[n]!
      const [y, x] = [
        (threadIdx.x >> half) * rowBy + row,
        (threadIdx.x & (2 ** half - 1)) * columnBy + column,
      ]
      tile.put(y * 1000 + x, y, x)
    }
    barrier()
    for (const i of range(threadIdx.x, rows * c.columns, 32)) a.out.put(memory.at(i), i)
  },
)

const random = rng(17)
const device = openEmulator()

function randomConfig(): Config {
  const columns = 2 ** random.integer(3, 6)
  const bits = random.integer(1, 3)
  const xor = [bits, random.integer(0, 3), random.integer(bits, 4)] as const
  const accesses = Array.from({ length: 12 }, () => {
    const half = random.integer(0, 3)
    const columnBy = random.integer(0, Math.min(4, Math.floor((columns - 1) / 2 ** half)))
    const rowBy = half === 0 ? 1 : random.integer(0, 2)
    return {
      half,
      rowBy,
      row: random.integer(0, rows - 1 - rowBy * ((32 >> half) - 1)),
      columnBy,
      column: random.integer(0, columns - 1 - columnBy * (2 ** half - 1)),
    }
  })
  return {
    swizzle: ([32, 64, 128] as const)[random.integer(0, 2)]!,
    xor: random.integer(0, 1) ? xor : null,
    columns,
    accesses,
  }
}

test('what of a coordinate is static stays out of the swizzle only where that changes nothing', async () => {
  for (let n = 0; n < 30; n++) {
    const c = randomConfig()
    const layout = layoutOf(c)
    const expected = new Int32Array(rows * c.columns).fill(-1)
    for (const { half, rowBy, row, columnBy, column } of c.accesses)
      for (let tid = 0; tid < 32; tid++) {
        const [y, x] = [(tid >> half) * rowBy + row, (tid & (2 ** half - 1)) * columnBy + column]
        expected[layout(y, x)] = y * 1000 + x
      }
    const { out } = await runKernel(device, place, c, { out: { dtype: 'i32', shape: [expected.length] } })
    assert.equal(out, expected, JSON.stringify(c))
  }
})

test.run()
