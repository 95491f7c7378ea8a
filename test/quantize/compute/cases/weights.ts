import type { Test } from 'uvu'
import * as assert from 'uvu/assert'
import { type WeightFormat, weightFormats } from '../../../../kernels/formats/index.ts'
import { type Mat, NotPositiveDefinite } from '../../../../quantize/compute/compute.ts'
import { DeviceCompute } from '../../../../quantize/compute/device.ts'
import { HostCompute } from '../../../../quantize/compute/host.ts'
import { QuantizeError } from '../../../../quantize/error.ts'
import { type QuantizedFormatName, rowGrids } from '../../../../quantize/round-to-nearest.ts'
import type { Device } from '../../../../runtime/device.ts'
import { type Rng, rng } from '../../../support/rng.ts'
import { roundToNearest } from '../../../support/round-to-nearest.ts'

/** Rounding of weights by `DeviceCompute` gives what that on the host gives. */
export function weightCases(test: Test, on: Device): void {
  const device = new DeviceCompute(on)
  const host = new HostCompute()

  const formats = Object.keys(rowGrids) as QuantizedFormatName[]

  /** Weights with rows of different size and place, one of them zeros, and a few outliers. */
  function weights(random: Rng, rows: number, columns: number): Float32Array {
    const values = new Float32Array(rows * columns)
    for (let n = 0; n < rows; n++) {
      if (n === 3) continue
      const [scale, shift] = [2 ** random.integer(-9, 4), n % 4 === 1 ? 1.5 * random.normal() : 0]
      for (let k = 0; k < columns; k++) values[n * columns + k] = scale * (random.normal() + shift)
      values[n * columns + random.integer(0, columns - 1)]! *= 7
    }
    return values
  }

  const both = (values: Float32Array, rows: number, columns: number): [Mat, Mat] => [
    device.from(values, rows, columns),
    host.from(values, rows, columns),
  ]

  /** A symmetric positive definite matrix: the gram matrix of fewer rows than columns, and some of the identity. */
  async function hessian(random: Rng, K: number): Promise<Float32Array> {
    const T = Math.ceil(0.75 * K)
    const mix = Float32Array.from(
      { length: T * K },
      (_, i) => random.normal() * (1 + 3 * Math.sin((i % K) / 5)),
    )
    const h = host.allocate(K, K)
    await host.gram(h, host.from(mix, T, K))
    const values = (await host.read(h)) as Float32Array
    for (let i = 0; i < K; i++) values[i * K + i]! += 0.3
    return values
  }

  for (const format of formats) {
    const [rows, columns] = [35, 256]
    test(`${format}: codes and scales are those of round-to-nearest, bit for bit`, async () => {
      const values = weights(rng(1), rows, columns)
      const wanted = roundToNearest({ name: 'w', rows, columns, values }, format)
      const [w, w2] = both(values, rows, columns)
      const grid = await device.fitGrid(w, format)
      assert.equal(await device.encode(w, grid), wanted)
      const snapped = device.allocate(rows, columns)
      await device.snap(snapped, w, grid)
      const snapped2 = host.allocate(rows, columns)
      await host.snap(snapped2, w2, await host.fitGrid(w2, format))
      assert.equal(await device.read(snapped), await host.read(snapped2))
      // What is on the grid stays there.
      assert.equal((await device.encode(snapped, grid)).codes, wanted.codes)
    })

    const { group }: WeightFormat = weightFormats[format]
    for (const units of new Set([1, columns / (group || columns)]))
      test(`${format}: ranges are clamped by ${units} ratios a row`, async () => {
        const random = rng(2)
        const [w, w2] = both(weights(random, rows, columns), rows, columns)
        const ratio = Float32Array.from({ length: rows * units }, () => 0.4 + 0.6 * random.uniform())
        const [r, r2] = both(ratio, rows, units)
        const actual = await device.encode(w, await device.fitGrid(w, format, r))
        assert.equal(actual, await host.encode(w2, await host.fitGrid(w2, format, r2)))
      })

    if (format === 'w4a8-g64' || format === 'w4a8-g128')
      test(`${format}: integer zeros are those of the host, keep 0, and stay in a signed byte`, async () => {
        const random = rng(9)
        const groups = columns / group
        const values = weights(random, rows, columns)
        // A row all above 0, and one all below.
        for (let k = 0; k < columns; k++) {
          values[k] = Math.abs(values[k]!)
          values[columns + k] = -Math.abs(values[columns + k]!)
        }
        const [w, w2] = both(values, rows, columns)
        const ratio = Float32Array.from({ length: rows * groups }, () => 0.6 + 0.4 * random.uniform())
        const [r, r2] = both(ratio, rows, groups)
        for (const by of [
          [undefined, undefined],
          [r, r2],
        ] as const) {
          const found = await device.encode(w, await device.fitGrid(w, format, by[0], 'integer'))
          assert.equal(found, await host.encode(w2, await host.fitGrid(w2, format, by[1], 'integer')))
          found.groupMin!.forEach((min, i) => {
            const zero = -min / found.groupScale![i]!
            assert.ok(Number.isInteger(zero) && zero >= 0 && zero <= 15, `zero point ${zero}`)
          })
          found.codes.forEach((code, i) => {
            const at = Math.floor(i / group)
            const level1 = code * found.groupScale![at]! + found.groupMin![at]!
            assert.ok(level1 >= -128 && level1 <= 127, `${level1} is no signed byte`)
          })
        }
        const [g, g2] = both(await hessian(random, columns), columns, columns)
        const ratios = [1, 0.85, 0.7].map(Math.fround)
        const clips = [
          await device.read(await device.searchClip(w, g, format, ratios, 'integer')),
          await host.read(await host.searchClip(w2, g2, format, ratios, 'integer')),
        ] as const
        const same = clips[0].filter((clip, i) => clip === clips[1][i]).length
        assert.ok(same >= 0.97 * clips[0].length, `${same} of ${clips[0].length} ratios are the same`)
      })

    // One format of each kind, and each size of group.
    if (!['w8a8', 'w4a8', 'w4a8-g128', 'w4a8-g64', 'w4a16-g32'].includes(format)) continue

    test(`${format}: GPTQ gives the weights of the host`, async () => {
      const random = rng(3)
      const h = await hessian(random, columns)
      const u = await host.cholesky(host.from(h, columns, columns), 0.01)
      const order = Int32Array.from({ length: columns }, (_, i) => (i * 45 + 8) % columns)
      for (const options of [{}, { order }]) {
        const [w, w2] = both(weights(random, rows, columns), rows, columns)
        const grid = await device.fitGrid(w, format)
        await host.gptq(w2, u, await host.fitGrid(w2, format), options)
        await device.gptq(w, device.from(await host.read(u), columns, columns), grid, options)
        const [got, expected] = [await device.read(w), (await host.read(w2)) as Float32Array]
        // Errors of f32 sums now and then lead over the middle between two codes; from there on a row goes another way.
        let same = 0
        for (let i = 0; i < got.length; i++) if (got[i] === expected[i]) same++
        assert.ok(same / got.length > 0.97, `${same} of ${got.length} weights are the same`)
        // What GPTQ leaves is on the grid.
        const snapped = device.allocate(rows, columns)
        await device.snap(snapped, w, grid)
        assert.equal(await device.read(snapped), got)
      }
    })

    test(`${format}: clip ratios lose as little as those of the host`, async () => {
      const random = rng(4)
      const [w, w2] = both(weights(random, rows, columns), rows, columns)
      const [g, g2] = both(await hessian(random, columns), columns, columns)
      const ratios = [1, 0.9, 0.8, 0.7, 0.6, 0.5].map(Math.fround)
      const [found, wanted] = [
        await device.searchClip(w, g, format, ratios),
        await host.searchClip(w2, g2, format, ratios),
      ]
      assert.is(found.columns, wanted.columns)
      const [actual, expected] = [await device.read(found), await host.read(wanted)]
      let different = 0
      actual.forEach((ratio, i) => {
        assert.ok(ratios.includes(ratio))
        if (ratio !== expected[i]) different++
      })
      // Two ratios may lose the same but for rounding.
      assert.ok(different <= 0.01 * actual.length, `${different} of ${actual.length} ratios differ`)
      assert.ok(new Set(actual).size > 1)
    })
  }

  for (const K of [5, 128, 140, 300])
    test(`the inverse of a Hessian of ${K} columns in triangles`, async () => {
      const h = await hessian(rng(K), K)
      // An input that never occurs.
      for (let i = 0; i < K; i++) h[2 * K + i] = h[i * K + 2] = 0
      const actual = await device.read(await device.cholesky(device.from(h, K, K), 0.01))
      const wanted = (await host.read(await host.cholesky(host.from(h, K, K), 0.01))) as Float32Array
      const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
      for (let i = 0; i < K * K; i++) {
        // Condition numbers of some thousands take that many roundings of f32.
        assert.ok(Math.abs(actual[i]! - wanted[i]!) <= 1e-4 * largest, `${i}: ${actual[i]} ${wanted[i]}`)
        if (Math.floor(i / K) > i % K) assert.is(actual[i], 0)
      }
    })

  test('what is not positive definite is refused with the column', async () => {
    const K = 200
    const h = await hessian(rng(7), K)
    h[150 * K + 150] = -1
    const failure = /not positive definite at column 150 of 200/
    for (const compute of [device, host]) {
      try {
        await compute.cholesky(compute.from(h, K, K), 0)
        assert.unreachable()
      } catch (error) {
        assert.instance(error, NotPositiveDefinite)
        assert.match((error as Error).message, failure)
      }
    }
    h[10] = Number.NaN
    try {
      await device.cholesky(device.from(h, K, K), 0)
      assert.unreachable()
    } catch (error) {
      assert.instance(error, NotPositiveDefinite)
    }
  })

  test('a scale that f16 cannot hold is refused', async () => {
    for (const format of ['w8a8', 'w4a8', 'w4a8-g128', 'w4a16-g128'] as const) {
      const values = weights(rng(8), 3, 128)
      values[200] = 3e7
      try {
        await device.fitGrid(device.from(values, 3, 128), format)
        assert.unreachable()
      } catch (error) {
        assert.instance(error, QuantizeError)
        assert.match((error as Error).message, /row 1 .*f16 cannot hold/)
      }
    }
  })
}
