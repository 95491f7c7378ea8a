import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkOutput, poison, WrongResult } from '../../bench/gemm/check.ts'
import { rowSums } from '../../bench/gemm/host-operands.ts'
import { Problem } from '../../bench/gemm/problem.ts'
import { benchFormats } from '../../bench/gemm/weights.ts'
import { defaultTiles } from '../../kernels/gemm-tiles.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { rng } from '../support/rng.ts'

const device = openEmulator()
test.after(() => device.close())

/** Three strips that the weights repeat, and some rows of a fourth. */
const shape = { n: 200, k: 256 }

for (const format of benchFormats) {
  test(`${format.name}: what the kernel gives passes the check, and a wrong element or one left out does not`, async () => {
    const problem = new Problem(device, format, shape, 9)
    for (const tokens of [9, 2]) {
      const tiles = defaultTiles(format.weights, { M: tokens, N: shape.n, K: shape.k }, device.target)
      const [launch] = await problem.launches(tokens, tiles, false, 1)
      poison(problem)
      await rejects(checkOutput(problem, tokens), /was not written/)
      launch!.run()
      await checkOutput(problem, tokens)
    }
    const { out } = problem
    const values = (await out.read()) as Uint16Array
    // A hundredth off in half of the elements: the check takes six features of each of a few tokens.
    for (let i = 0; i < values.length; i += 2) values[i]! += 16
    out.write(values)
    await rejects(checkOutput(problem, 9), /expected/)
    problem.free()
  })
}

async function rejects(promise: Promise<void>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, WrongResult)
  assert.match((error as Error).message, message)
}

test('sums of repeated rows are those of the rows', () => {
  const random = rng(8)
  const codes = Int8Array.from({ length: 37 }, () => random.integer(-127, 127))
  const K = 16
  const sums = rowSums(codes, 20, K)
  const expected = Array.from({ length: 20 }, (_, m) =>
    Array.from({ length: K }, (_, k) => codes[(m * K + k) % 37]!).reduce((a, b) => a + b),
  )
  assert.equal([...sums], expected)
})

test.run()
