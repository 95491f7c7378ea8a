import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Mat, NotPositiveDefinite, type Values } from '../../../quantize/compute/compute.ts'
import { HostCompute } from '../../../quantize/compute/host.ts'
import { dequantize, rowGrids } from '../../../quantize/round-to-nearest.ts'
import { rng } from '../../support/rng.ts'
import { roundToNearest } from '../../support/round-to-nearest.ts'

const test = suite('HostCompute')
const compute = new HostCompute('f64')

const random = (seed: number, rows: number, columns: number): Mat => {
  const { normal } = rng(seed)
  return compute.from(Float64Array.from({ length: rows * columns }, normal), rows, columns)
}
const at = (values: Values, columns: number) => (r: number, c: number) => values[r * columns + c]!
const close = (actual: number, expected: number, what = '') =>
  assert.ok(Math.abs(actual - expected) < 1e-9 * (1 + Math.abs(expected)), `${what} ${actual} ${expected}`)

test('multiply takes each operand as it is or transposed, and adds where asked', async () => {
  const [m, n, k] = [5, 7, 6]
  for (const transposeA of [false, true])
    for (const transposeB of [false, true]) {
      const a = transposeA ? random(1, k, m) : random(1, m, k)
      const b = transposeB ? random(2, n, k) : random(2, k, n)
      const dst = random(3, m, n)
      const [x, y] = [at(await compute.read(a), a.columns), at(await compute.read(b), b.columns)]
      const before = at(await compute.read(dst), n)
      await compute.multiply(dst, a, b, { transposeA, transposeB, add: true })
      const after = at(await compute.read(dst), n)
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          let sum = before(i, j)
          for (let l = 0; l < k; l++)
            sum += (transposeA ? x(l, i) : x(i, l)) * (transposeB ? y(j, l) : y(l, j))
          close(after(i, j), sum)
        }
    }
  assert.throws(() => compute.rowsOf(random(1, 2, 2), 1, 5), RangeError)
})

test('gram adds xᵀ·diag(w)·x', async () => {
  const [x, w, dst] = [random(4, 9, 5), random(5, 9, 1), random(6, 5, 5)]
  const [before, values, weights] = [
    at(await compute.read(dst), 5),
    at(await compute.read(x), 5),
    await compute.read(w),
  ]
  const plain = compute.allocate(5, 5)
  await compute.gram(plain, x)
  await compute.gram(dst, x, w)
  // The lower half is a copy of the upper one: only the upper half of what was there counts.
  for (let i = 0; i < 5; i++)
    for (let j = i; j < 5; j++) {
      let [sum, weighted] = [0, before(i, j)]
      for (let t = 0; t < 9; t++) {
        sum += values(t, i) * values(t, j)
        weighted += values(t, i) * weights[t]! * values(t, j)
      }
      close(at(await compute.read(plain), 5)(j, i), sum)
      close(at(await compute.read(dst), 5)(i, j), weighted)
    }
})

test('hadamard is the symmetric orthogonal matrix of ±1, on each block', async () => {
  const m = random(7, 3, 16)
  const signs = compute.from(
    Float64Array.from({ length: 16 }, (_, i) => (i % 3 === 0 ? -1 : 1)),
    1,
    16,
  )
  const before = at(await compute.read(m), 16)
  await compute.hadamard(m, 8, signs)
  const after = at(await compute.read(m), 16)
  const parity = (x: number): number => (x === 0 ? 0 : (x & 1) ^ parity(x >> 1))
  for (let r = 0; r < 3; r++)
    for (let c = 0; c < 16; c++) {
      let sum = 0
      for (let i = 0; i < 8; i++) {
        const column = (c & 8) + i
        const value = before(r, column) * (column % 3 === 0 ? -1 : 1)
        sum += (parity(i & c & 7) ? -value : value) / Math.sqrt(8)
      }
      close(after(r, c), sum)
    }
})

test('attention within windows sees what came before, and no more than the sliding window', async () => {
  const [D, window] = [4, 6]
  const [q, k, v] = [random(8, 12, 4 * D), random(9, 12, 2 * D), random(10, 12, 2 * D)]
  const [Q, K, V] = [
    at(await compute.read(q), 4 * D),
    at(await compute.read(k), 2 * D),
    at(await compute.read(v), 2 * D),
  ]
  for (const sliding of [undefined, 3]) {
    const dst = compute.allocate(12, 4 * D)
    const shape = { heads: 4, kvHeads: 2, headDim: D, window, scale: 0.5 }
    await compute.attention(dst, q, k, v, { ...shape, ...(sliding && { sliding }) })
    const out = at(await compute.read(dst), 4 * D)
    for (let t = 0; t < 12; t++)
      for (let head = 0; head < 4; head++) {
        const shared = Math.floor(head / 2) * D
        const seen = Array.from({ length: 12 }, (_, s) => s).filter(
          (s) => s <= t && Math.floor(s / window) === Math.floor(t / window) && t - s < (sliding ?? 99),
        )
        const weights = seen.map((s) => {
          let sum = 0
          for (let d = 0; d < D; d++) sum += Q(t, head * D + d) * K(s, shared + d)
          return Math.exp(sum / 2)
        })
        const total = weights.reduce((a, b) => a + b)
        for (let d = 0; d < D; d++)
          close(
            out(t, head * D + d),
            seen.reduce((sum, s, i) => sum + (weights[i]! / total) * V(s, shared + d), 0),
          )
      }
  }
})

test('cholesky gives U with Uᵀ·U the inverse of the damped matrix, and counts inputs that never occur as 1', async () => {
  const K = 12
  const h = compute.allocate(K, K)
  const x = random(11, 40, K)
  const alive = compute.from(
    Float64Array.from({ length: K }, (_, i) => (i === 5 ? 0 : 1)),
    1,
    K,
  )
  await compute.scaleColumns(x, alive)
  await compute.gram(h, x)
  const u = await compute.cholesky(h, 0.01)
  const [H, U] = [at(await compute.read(h), K), at(await compute.read(u), K)]
  const diagonal = Array.from({ length: K }, (_, i) => (i === 5 ? 1 : H(i, i)))
  const damped = (i: number, j: number) =>
    i === j ? diagonal[i]! + 0.01 * (diagonal.reduce((a, b) => a + b) / K) : H(i, j)
  const inverse = (i: number, j: number) => {
    let sum = 0
    for (let k = 0; k < K; k++) sum += U(k, i) * U(k, j)
    return sum
  }
  for (let i = 0; i < K; i++)
    for (let j = 0; j < K; j++) {
      if (j < i) assert.is(U(i, j), 0)
      let sum = 0
      for (let k = 0; k < K; k++) sum += damped(i, k) * inverse(k, j)
      close(sum, i === j ? 1 : 0)
    }
  const indefinite = compute.from(Float64Array.of(1, 2, 2, 1), 2, 2)
  try {
    await compute.cholesky(indefinite, 0.01)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, NotPositiveDefinite)
  }
})

for (const format of Object.keys(rowGrids) as (keyof typeof rowGrids)[])
  test(`${format}: fit, snap and encode are round-to-nearest's; a snapped matrix encodes to itself`, async () => {
    const [rows, columns] = [6, 256]
    const { normal } = rng(12)
    const values = Float32Array.from({ length: rows * columns }, normal)
    const host = new HostCompute()
    const w = host.from(values, rows, columns)
    const expected = roundToNearest({ name: 'w', rows, columns, values }, format)
    const grid = await host.fitGrid(w, format)
    assert.equal(await host.encode(w, grid), expected)
    const snapped = host.allocate(rows, columns)
    await host.snap(snapped, w, grid)
    assert.equal(await host.read(snapped), dequantize(expected, format))
    const again = await host.encode(snapped, grid)
    assert.equal(dequantize(again, format), dequantize(expected, format))
  })

for (const format of ['w4a8', 'w4a8-g64', 'w4a16-g64', 'w8a8'] as const)
  test(`${format}: searchClip finds, by row or group, the ratio of the least output error`, async () => {
    const [rows, K, group] = [3, 128, format.includes('g64') ? 64 : 128]
    const host = new HostCompute()
    const { normal } = rng(13)
    // Heavy tails, so that clipping pays.
    const w = host.from(
      Float32Array.from({ length: rows * K }, () => normal() ** 3),
      rows,
      K,
    )
    const x = host.from(Float32Array.from({ length: 300 * K }, normal), 300, K)
    const gram = host.allocate(K, K)
    await host.gram(gram, x)
    const ratios = [1, 0.9, 0.8, 0.7, 0.5]
    const found = await host.searchClip(w, gram, format, ratios)
    assert.equal([found.rows, found.columns], [rows, K / group])
    const losses = await Promise.all(
      ratios.map(async (ratio) => {
        // Level-1 scales are those of the whole range: a row's largest weight decides them for all its groups.
        const fitted = host.from(new Float32Array(rows * (K / group)).fill(ratio), rows, K / group)
        const grid = await host.fitGrid(w, format, fitted)
        const delta = host.allocate(rows, K)
        await host.snap(delta, w, grid)
        await host.add(delta, w, -1)
        const [d, G] = [at(await host.read(delta), K), at(await host.read(gram), K)]
        return Array.from({ length: rows * (K / group) }, (_, i) => {
          const [n, start] = [Math.floor((i * group) / K), (i * group) % K]
          let loss = 0
          for (let a = start; a < start + group; a++)
            for (let b = start; b < start + group; b++) loss += d(n, a) * G(a, b) * d(n, b)
          return loss
        })
      }),
    )
    const best = (await host.read(found)) as Float32Array
    if (format === 'w4a8-g64') {
      assert.ok(best.every((ratio) => ratios.some((r) => Math.fround(r) === ratio)))
      return
    }
    best.forEach((ratio, i) => {
      const least = Math.min(...losses.map((loss) => loss[i]!))
      assert.is(ratio, Math.fround(ratios[losses.findIndex((loss) => loss[i] === least)]!), `${format} ${i}`)
    })
  })

test('gptq loses less output error than rounding where inputs are correlated, and equals it where they are not', async () => {
  const host = new HostCompute()
  const [rows, K] = [16, 64]
  const { normal } = rng(14)
  const w = Float32Array.from({ length: rows * K }, normal)
  const x = Float32Array.from({ length: 400 * K }, normal)
  // A common part in all inputs.
  for (let t = 0; t < 400; t++) {
    const common = 2 * normal()
    for (let k = 0; k < K; k++) x[t * K + k]! += common
  }
  const gram = host.allocate(K, K)
  await host.gram(gram, host.from(x, 400, K))
  const identity = host.from(
    Float32Array.from({ length: K * K }, (_, i) => (i % (K + 1) === 0 ? 3 : 0)),
    K,
    K,
  )
  const loss = async (values: Mat, h: Mat) => {
    const delta = host.from(w, rows, K)
    await host.add(delta, values, -1)
    const product = host.allocate(rows, K)
    await host.multiply(product, delta, h)
    return host.dot(product, delta)
  }
  const grid = await host.fitGrid(host.from(w, rows, K), 'w4a8-g32')
  const rounded = host.allocate(rows, K)
  await host.snap(rounded, host.from(w, rows, K), grid)
  const order = Int32Array.from({ length: K }, (_, i) => (i * 5 + 3) % K)
  for (const use of [undefined, order]) {
    const permuted = host.allocate(K, K)
    const scratch = host.allocate(K, K)
    const plain = Int32Array.from({ length: K }, (_, i) => i)
    await host.permuteRows(scratch, gram, use ?? plain)
    await host.permuteColumns(permuted, scratch, use ?? plain)
    const solved = host.from(w, rows, K)
    await host.gptq(solved, await host.cholesky(permuted, 0.01), grid, use && { order: use })
    assert.ok((await loss(solved, gram)) < 0.6 * (await loss(rounded, gram)))
    const trivial = host.from(w, rows, K)
    await host.gptq(trivial, await host.cholesky(identity, 0.01), grid, use && { order: use })
    assert.equal(await host.read(trivial), await host.read(rounded))
  }
})

test('a matrix that is not finite is found', async () => {
  const m = random(15, 3, 4)
  assert.is(await compute.firstNonFinite(m), undefined)
  const values = Float64Array.from(await compute.read(m))
  values[7] = Number.NaN
  assert.is(await compute.firstNonFinite(compute.from(values, 3, 4)), 7)
})

test.run()
