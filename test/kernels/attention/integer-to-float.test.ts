import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type f32, type In, type i32, kernel, type Out, threadIdx } from '../../../dsl/index.ts'
import { floatOfSigned, floatOfUnsigned } from '../../../kernels/attention/integer-to-float.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const N = 1024
const device = checkedEmulator()

const convert = kernel(
  import.meta.url,
  { grid: () => [1], block: [N] },
  function convert(a: { x: In<i32, 'N'>; signed: Out<f32, 'N'>; unsigned: Out<f32, 'N'> }) {
    const x = a.x.at(threadIdx.x)
    a.signed.put(floatOfSigned(x), threadIdx.x)
    a.unsigned.put(floatOfUnsigned(x), threadIdx.x)
  },
)

test('integers become the nearest floats by their bits: ties, bounds, and integers of every length', async () => {
  const random = rng(7)
  const ends = [0, 1, 255, 256, 2 ** 24 + 1, 2 ** 24 + 3, 2 ** 25 + 2, 2 ** 25 + 6, 2 ** 30 - 1, 2 ** 30 - 32]
  const upTo30 = () => Math.floor(random.uniform() * 2 ** random.integer(1, 30))
  const signed = Int32Array.from({ length: N }, (_, i) => {
    const magnitude = i < 2 * ends.length ? ends[i >> 1]! : upTo30()
    return i % 2 === 0 ? magnitude : -magnitude
  })
  signed[N - 1] = -(2 ** 30)
  const run = async (x: Int32Array) =>
    runKernel(
      device,
      convert,
      {},
      {
        x: { dtype: 'i32', shape: [N], data: x },
        signed: { dtype: 'f32', shape: [N] },
        unsigned: { dtype: 'f32', shape: [N] },
      },
    )
  assert.equal(
    Array.from((await run(signed)).signed!),
    Array.from(signed, Math.fround).map((x) => x + 0),
  )
  const large = Int32Array.from(signed, (x, i) =>
    i < 8 ? 2 ** 31 - 1 - i * 37 : 2 * Math.abs(x) - (x === -(2 ** 30) ? 1 : 0),
  )
  assert.equal(Array.from((await run(large)).unsigned!), Array.from(large, Math.fround))
})

test.after(() => device.close())
test.run()
