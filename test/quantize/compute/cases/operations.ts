import type { Test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16FromF32 } from '../../../../dsl/half.ts'
import type { Mat } from '../../../../quantize/compute/compute.ts'
import { DeviceCompute } from '../../../../quantize/compute/device.ts'
import { Launches } from '../../../../quantize/compute/device-launches.ts'
import { type DeviceMat, deviceMat, MatrixMemory } from '../../../../quantize/compute/device-memory.ts'
import { multiplyParts, type Part, whole } from '../../../../quantize/compute/device-products.ts'
import { gramRounded, multiplySplit } from '../../../../quantize/compute/device-tensor-cores.ts'
import { HostCompute } from '../../../../quantize/compute/host.ts'
import type { Device } from '../../../../runtime/device.ts'
import { rng } from '../../../support/rng.ts'

/** Operations of `DeviceCompute` give what those of the host give. */
export function operationCases(test: Test, on: Device): void {
  const device = new DeviceCompute(on)
  const work = { target: on.target, launches: new Launches(on), memory: new MatrixMemory(on) }
  const host = new HostCompute()

  const normals = (seed: number, length: number, scale = 1): Float32Array => {
    const random = rng(seed)
    return Float32Array.from({ length }, () => scale * random.normal())
  }

  /** The same numbers on both. */
  const both = (values: Float32Array, rows: number, columns: number): [Mat, Mat] => [
    device.from(values, rows, columns),
    host.from(values, rows, columns),
  ]

  /** Results of the device are near those of the host: `bound` times the largest magnitude. */
  async function assertNear(actual: Mat, expected: Mat, bound: number): Promise<void> {
    const got = await device.read(actual)
    const wanted = (await host.read(expected)) as Float32Array
    assert.is(got.length, wanted.length)
    const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    for (let i = 0; i < wanted.length; i++)
      if (!(Math.abs(got[i]! - wanted[i]!) <= bound * largest))
        throw new Error(`element ${i} is ${got[i]}, expected ${wanted[i]} within ${bound * largest}`)
  }

  /** Sums of f32 in another order than the host's, which sums in f64. */
  const ofSums = 3e-6

  /** Products of tensor cores leave out 2⁻¹⁷ of a term at most. */
  const ofSplitSums = 1.5e-5

  for (const [M, N, K] of [
    [130, 140, 100],
    [5, 7, 3],
  ] as const) {
    for (const exact of [false, true])
      for (const [transposeA, transposeB] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ] as const) {
        // Rows that are no multiples of 16 bytes differ in their copies alone.
        if (K % 4 !== 0 && transposeA !== transposeB) continue
        const name = `${transposeA ? 'aᵀ' : 'a'}·${transposeB ? 'bᵀ' : 'b'}`
        test(`${exact ? 'exact' : 'split'} product ${name} of ${M} × ${N} × ${K}`, async () => {
          const [a, a2] = both(normals(1, M * K), ...((transposeA ? [K, M] : [M, K]) as [number, number]))
          const [b, b2] = both(normals(2, N * K), ...((transposeB ? [N, K] : [K, N]) as [number, number]))
          const [c, c2] = both(normals(3, M * N), M, N)
          for (const add of [false, true]) {
            const options = { transposeA, transposeB, add }
            if (exact) {
              const parts = [c, a, b].map((m) => whole(deviceMat(m))) as [Part, Part, Part]
              await multiplyParts(work, ...parts, { M, N, K, ...options, exact })
            } else await device.multiply(c, a, b, options)
            await host.multiply(c2, a2, b2, options)
            await assertNear(c, c2, exact ? ofSums : ofSplitSums)
          }
          for (const mat of [a, b, c]) mat.free()
        })
      }
  }

  for (const exact of [false, true])
    test(`${exact ? 'exact' : 'split'} products of parts leave the rest alone`, async () => {
      const [a, a2] = both(normals(31, 300 * 60), 300, 60)
      const [b, b2] = both(normals(32, 60 * 44), 60, 44)
      const [c] = both(normals(33, 310 * 52), 310, 52)
      const before = (await device.read(c)).slice()
      const [M, N, K] = [270, 40, 52]
      const part = (m: Mat, row: number, column: number): Part => ({ of: deviceMat(m), row, column })
      await multiplyParts(work, part(c, 3, 8), part(a, 20, 4), part(b, 5, 4), {
        M,
        N,
        K,
        alpha: -2,
        add: true,
        exact,
      })
      const [x, y, got] = [await host.read(a2), await host.read(b2), await device.read(c)]
      for (let i = 0; i < 310; i++)
        for (let j = 0; j < 52; j++) {
          const [m, n] = [i - 3, j - 8]
          let wanted = before[i * 52 + j]!
          if (m >= 0 && m < M && n >= 0 && n < N)
            for (let k = 0; k < K; k++) wanted -= 2 * x[(m + 20) * 60 + k + 4]! * y[(k + 5) * 44 + n + 4]!
          else assert.is(got[i * 52 + j], wanted)
          assert.ok(Math.abs(got[i * 52 + j]! - wanted) < (exact ? 1e-4 : 1e-3), `${i}, ${j}`)
        }
    })

  if (on.target.name === 'sm_90a') {
    const [M, N, K] = [136, 72, 128]
    for (const [alongA, alongB] of [
      [true, true],
      [true, false],
      [false, false],
    ] as const)
      for (const terms of [1, 3] as const)
        test(`product on wgmma, ${terms} of each pair, rows along K ${alongA} and ${alongB}`, async () => {
          // bf16 has the numbers up to 256: one term is exact, too.
          const values = (seed: number, length: number): Float32Array =>
            terms === 3 ? normals(seed, length) : normals(seed, length, 40).map(Math.round)
          const [a, a2] = both(values(41, M * K), ...((alongA ? [M, K] : [K, M]) as [number, number]))
          const [b, b2] = both(values(42, N * K), ...((alongB ? [N, K] : [K, N]) as [number, number]))
          const [c, c2] = both(values(43, M * N), M, N)
          for (const add of [false, true]) {
            const operands = [c, a, b].map(deviceMat) as [DeviceMat, DeviceMat, DeviceMat]
            await multiplySplit(work, ...operands, { M, N, K, alongA, alongB, terms, add })
            await host.multiply(c2, a2, b2, { transposeA: !alongA, transposeB: alongB, add })
            await assertNear(c, c2, terms === 3 ? ofSplitSums : ofSums)
          }
          for (const mat of [a, b, c]) mat.free()
        })

    test('a gram matrix on wgmma is that of rows rounded to bf16, and adds up', async () => {
      const [T, K] = [128, 72]
      const [x, x2] = both(normals(44, T * K, 40).map(Math.round), T, K)
      const [g, g2] = both(normals(45, K * K), K, K)
      // Symmetric, as Gram matrices are.
      for (const mat of [g, g2] as const) {
        const compute = mat === g ? device : host
        const turned = compute.allocate(K, K)
        await compute.transpose(turned, mat)
        await compute.add(mat, turned)
        turned.free()
      }
      await gramRounded(work, deviceMat(g), deviceMat(x), deviceMat(x))
      await host.gram(g2, x2)
      await assertNear(g, g2, ofSums)
    })
  }

  test('gram matrices add up, weighted or not, and are symmetric', async () => {
    const [T, K] = [75, 140]
    const [x, x2] = both(normals(4, T * K), T, K)
    const [w, w2] = both(normals(5, T).map(Math.abs), T, 1)
    const [g, g2] = [device.allocate(K, K), host.allocate(K, K)]
    await device.gram(g, x)
    await device.gram(g, x, w)
    await host.gram(g2, x2)
    await host.gram(g2, x2, w2)
    await assertNear(g, g2, ofSplitSums)
    const values = await device.read(g)
    for (let i = 0; i < K; i++) for (let j = 0; j < i; j++) assert.is(values[i * K + j], values[j * K + i])
    await assertNear(x, x2, 0)
  })

  test('elements, rows and columns', async () => {
    const [R, C] = [37, 1030]
    const [m, m2] = both(normals(6, R * C), R, C)
    const [n, n2] = both(normals(7, R * C), R, C)
    const [row, row2] = both(normals(8, C), 1, C)
    const [column, column2] = both(normals(9, R), R, 1)
    for (const [c, x, y, r, s] of [
      [device, m, n, row, column],
      [host, m2, n2, row2, column2],
    ] as const) {
      await c.add(x, y, -0.75)
      await c.addRow(x, r, 0.5)
      await c.scaleRows(x, s)
      await c.scaleColumns(x, r)
      await c.siluMul(y, x, y)
    }
    await assertNear(m, m2, 3e-7)
    await assertNear(n, n2, 2e-6)
    const turned = [device.allocate(C, R), host.allocate(C, R)] as const
    await device.transpose(turned[0], m)
    await host.transpose(turned[1], m2)
    await assertNear(turned[0], turned[1], 3e-7)
    const random = rng(10)
    const rowOrder = Int32Array.from({ length: R }, (_, i) => (i * 11 + 5) % R)
    const columnOrder = Int32Array.from({ length: C }, (_, i) => (i * 7 + 3) % C)
    const ids = Int32Array.from({ length: 9 }, () => random.integer(0, R - 1))
    const copies = [device.allocate(R, C), host.allocate(R, C)] as const
    const rows = [device.allocate(9, C), host.allocate(9, C)] as const
    await device.permuteRows(copies[0], n, rowOrder)
    await host.permuteRows(copies[1], n2, rowOrder)
    await assertNear(copies[0], copies[1], 2e-6)
    await device.permuteColumns(copies[0], n, columnOrder)
    await host.permuteColumns(copies[1], n2, columnOrder)
    await assertNear(copies[0], copies[1], 2e-6)
    await device.embed(rows[0], m, ids)
    await host.embed(rows[1], m2, ids)
    await assertNear(rows[0], rows[1], 3e-7)
    assert.throws(() => device.embed(rows[0], m, new Int32Array(9).fill(R)), /37 is not below 37/)
  })

  test('statistics of rows and columns', async () => {
    const [R, C] = [1100, 70]
    const [m, m2] = both(
      normals(11, R * C).map((value) => value + 0.25),
      R,
      C,
    )
    const [stats, wanted] = [await device.columnStats(m), await host.columnStats(m2)]
    for (const part of ['absMax', 'min', 'max'] as const) assert.equal(stats[part], wanted[part])
    for (const part of ['mean', 'meanAbs'] as const)
      for (let c = 0; c < C; c++) assert.ok(Math.abs(stats[part][c]! - wanted[part][c]!) < 1e-6)
    const squares = [device.allocate(R, 1), host.allocate(R, 1)] as const
    await device.rowMeanSquare(squares[0], m)
    await host.rowMeanSquare(squares[1], m2)
    await assertNear(...squares, 1e-6)
    assert.ok(Math.abs((await device.dot(m, m)) / (await host.dot(m2, m2)) - 1) < 1e-6)
    assert.is(await device.firstNonFinite(m), undefined)
    const square = device.from(normals(12, 9), 3, 3)
    assert.equal(
      await device.diagonal(square),
      Float32Array.from([0, 4, 8], (i) => normals(12, 9)[i]!),
    )
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      const values = normals(13, R * C)
      values[700 * C + 5] = value
      values[900 * C] = Number.POSITIVE_INFINITY
      assert.is(await device.firstNonFinite(device.from(values, R, C)), 700 * C + 5)
    }
  })

  for (const [block, columns] of [
    [4, 24],
    [128, 640],
    [2048, 4096],
  ] as const)
    test(`Hadamard transforms of ${block}`, async () => {
      const random = rng(block)
      const signs = Float32Array.from({ length: columns }, () => (random.uniform() < 0.5 ? -1 : 1))
      const [m, m2] = both(normals(14, 3 * columns), 3, columns)
      const [s, s2] = both(signs, 1, columns)
      await device.hadamard(m, block, s)
      await host.hadamard(m2, block, s2)
      await assertNear(m, m2, ofSums)
      await device.hadamard(m, block)
      await host.hadamard(m2, block)
      await assertNear(m, m2, ofSums)
    })

  test('rows are normalized', async () => {
    const [R, C] = [5, 300]
    for (const withGain of [true, false]) {
      const [x, x2] = both(normals(15, R * C), R, C)
      const [gain, gain2] = both(normals(16, C), 1, C)
      await device.rmsNorm(x, x, withGain ? gain : null, 1e-5)
      await host.rmsNorm(x2, x2, withGain ? gain2 : null, 1e-5)
      await assertNear(x, x2, ofSums)
    }
  })

  test('heads are rotated', async () => {
    const [L, D, R] = [6, 32, 24]
    const [m, m2] = both(normals(17, 2 * L * 3 * D), 2 * L, 3 * D)
    const [angles, angles2] = both(normals(18, L * R), L, R)
    await device.rotary(m, D, angles)
    await host.rotary(m2, D, angles2)
    await assertNear(m, m2, 3e-7)
  })

  for (const [L, D, sliding] of [
    [70, 64, undefined],
    [100, 20, 37],
    [3, 128, undefined],
  ] as const)
    test(`attention within windows of ${L}, ${sliding ?? 'all'} seen`, async () => {
      const shape = { heads: 4, kvHeads: 2, headDim: D, window: L, scale: 0.3, sliding }
      const T = 2 * L
      const [q, q2] = both(normals(19, T * 4 * D), T, 4 * D)
      const [k, k2] = both(normals(20, T * 2 * D), T, 2 * D)
      const [v, v2] = both(normals(21, T * 2 * D), T, 2 * D)
      const out = [device.allocate(T, 4 * D), host.allocate(T, 4 * D)] as const
      await device.attention(out[0], q, k, v, shape)
      await host.attention(out[1], q2, k2, v2, shape)
      await assertNear(...out, 1e-5)
    })

  test('cross entropies', async () => {
    const [T, V] = [4, 1000]
    const [x, x2] = both(normals(22, T * V, 4), T, V)
    const targets = Int32Array.from([0, 17, 999, 500])
    const [got, wanted] = [await device.crossEntropy(x, targets), await host.crossEntropy(x2, targets)]
    for (let t = 0; t < T; t++) assert.ok(Math.abs(got[t]! - wanted[t]!) < 1e-5)
  })

  test('rows and heads are quantized as the kernels of the model do, bit for bit', async () => {
    const values = normals(23, 6 * 256)
    values.fill(0, 256, 512)
    values.subarray(512, 768).forEach((_, i, row) => {
      row[i] = 3 + 0.01 * i
    })
    const [m, m2] = both(values, 6, 256)
    await device.fakeQuantizeRows(m)
    await host.fakeQuantizeRows(m2)
    await assertNear(m, m2, 0)
    for (const bits of [4, 8] as const)
      for (const [headDim, ratio] of [
        [64, 1],
        [128, 0.9],
        [32, 0.5],
      ] as const) {
        const [h, h2] = both(values, 6, 256)
        await device.fakeQuantizeHeads(h, headDim, bits, ratio)
        await host.fakeQuantizeHeads(h2, headDim, bits, ratio)
        await assertNear(h, h2, 0)
      }
  })

  test('tensors are widened, and views share their memory', async () => {
    const values = normals(24, 12)
    const bits = bf16FromF32(values)
    const bytes = new Uint8Array(bits.buffer)
    const m = await device.load({ name: 'x', dtype: 'bf16', shape: [3, 4], bytes })
    const m2 = await host.load({ name: 'x', dtype: 'bf16', shape: [3, 4], bytes })
    await assertNear(m, m2, 0)
    const large = Float32Array.from([1e6, -1e-8, 65519, 1 + 2 ** -11, ...values])
    assert.equal(
      await device.readHalfs(device.from(large, 2, 8)),
      await host.readHalfs(host.from(large, 2, 8)),
    )
    const rows = device.rowsOf(m, 1, 2)
    await device.add(rows, rows)
    await host.add(host.rowsOf(m2, 1, 2), host.rowsOf(m2, 1, 2))
    await assertNear(device.reshape(m, 2, 6), m2, 0)
  })

  test('what is freed is used again, and the peak is what was there at once', async () => {
    const own = new DeviceCompute(on)
    const a = own.allocate(100, 100)
    own.allocate(10, 10)
    a.free()
    a.free()
    const b = own.allocate(100, 100)
    assert.is(own.peakBytes, 40400)
    assert.ok((await own.read(b)).every((value) => value === 0))
    await own.free()
  })

  test('shapes that do not fit are refused', () => {
    const m = device.allocate(2, 3)
    assert.throws(() => device.add(m, device.allocate(3, 2)), RangeError)
    assert.throws(() => device.multiply(m, m, m), RangeError)
    assert.throws(() => device.hadamard(m, 2), RangeError)
    assert.throws(() => device.add(m, host.allocate(2, 3)), TypeError)
  })
}
