import type { Mat } from '../../quantize/compute/compute.ts'
import { DeviceCompute } from '../../quantize/compute/device.ts'
import { HostCompute } from '../../quantize/compute/host.ts'
import type { Device } from '../../runtime/device.ts'
import { activations, hessian, type LayerShape, weightsOf } from './operations.ts'

/** Compares operations at the shapes of a layer with the host's, element by element of a sample; says how far off each is. */
export async function checkOperations(
  device: Device,
  { hidden: H, intermediate: I }: LayerShape,
  say: (line: string) => void,
): Promise<void> {
  const compute = new DeviceCompute(device)
  const T = 1024
  const [x, w] = [activations(1, T, H), weightsOf(2, I, H)]
  const [dx, dw] = [compute.from(x, T, H), compute.from(w, I, H)]
  const y = compute.allocate(T, I)
  await compute.multiply(y, dx, dw, { transposeB: true })
  const values = await compute.read(y)
  const of = (k: number) => x[(T - 1) * H + k]!
  say(`x·Wᵀ ${error(sampled(I, (n) => [values[(T - 1) * I + n]!, dotOf(H, of, (k) => w[n * H + k]!)]))}`)
  const g = compute.allocate(H, H)
  await compute.gram(g, dx)
  const grams = await compute.read(g)
  const column = (c: number) => (t: number) => x[t * H + c]!
  say(
    `gram ${error(sampled(H, (n) => [grams[(H - 2) * H + n]!, dotOf(T, column(H - 2), column(n))]))}, ` +
      `mirrored ${error(sampled(H, (n) => [grams[n * H + 5]!, grams[5 * H + n]!]))}`,
  )
  for (const m of [dx, dw, y, g]) m.free()
  for (const K of [H, I]) await checkInverse(compute, K, say)
  await compute.free()
}

/** U·H·Uᵀ is the identity; GPTQ of two rows is the host's; and its error is less than that of rounding. */
async function checkInverse(compute: DeviceCompute, K: number, say: (line: string) => void): Promise<void> {
  const h = await hessian(compute, K)
  const u = await compute.cholesky(h, 0.01)
  const [hs, us] = [await compute.read(h), await compute.read(u)]
  let mean = 0
  for (let i = 0; i < K; i++) mean += hs[i * K + i]! / K
  for (let i = 0; i < K; i++) hs[i * K + i]! += 0.01 * mean
  const pairs: [number, number][] = []
  for (const row of [0, Math.floor(K / 2), K - 130]) {
    const product = new Float64Array(K)
    for (let i = row; i < K; i++) {
      const factor = us[row * K + i]!
      for (let j = 0; j < K; j++) product[j]! += factor * hs[i * K + j]!
    }
    for (const other of [row, row + 1, K - 1, 5])
      pairs.push([
        dotOf(
          K,
          (j) => product[j]!,
          (j) => us[other * K + j]!,
        ),
        other === row ? 1 : 0,
      ])
  }
  say(`U·H·Uᵀ of ${K}: ${error(pairs)}`)
  const N = 256
  const values = weightsOf(5, N, K)
  const w = compute.from(values, N, K)
  const host = new HostCompute()
  for (const format of ['w4a8-g128', 'w4a8', 'w4a16-g128', 'w8a8'] as const) {
    const m = compute.from(values, N, K)
    const grid = await compute.fitGrid(m, format)
    await compute.gptq(m, u, grid)
    const rounded = compute.allocate(N, K)
    await compute.snap(rounded, w, grid)
    const [got, plain] = [await loss(compute, m, w, h), await loss(compute, rounded, w, h)]
    const own = host.from(values.subarray(0, 2 * K), 2, K)
    await host.gptq(own, host.from(us, K, K), await host.fitGrid(own, format))
    const [mine, theirs] = [await compute.read(compute.rowsOf(m, 0, 2)), await host.read(own)]
    const same = mine.reduce((count, value, i) => count + (value === theirs[i] ? 1 : 0), 0)
    say(
      `gptq ${format} of ${K}: loses ${((100 * got) / plain).toFixed(2)} % of what rounding does, ` +
        `${((100 * same) / (2 * K)).toFixed(2)} % of two rows as on the host`,
    )
    for (const each of [m, rounded, grid]) each.free()
  }
  for (const each of [h, u, w]) each.free()
}

/** Δ·H·Δᵀ summed over rows. */
async function loss(compute: DeviceCompute, m: Mat, w: Mat, h: Mat): Promise<number> {
  const delta = compute.allocate(m.rows, m.columns)
  const product = compute.allocate(m.rows, m.columns)
  await compute.copy(delta, m)
  await compute.add(delta, w, -1)
  await compute.multiply(product, delta, h)
  const total = await compute.dot(product, delta)
  delta.free()
  product.free()
  return total
}

function dotOf(length: number, a: (i: number) => number, b: (i: number) => number): number {
  let sum = 0
  for (let i = 0; i < length; i++) sum += a(i) * b(i)
  return sum
}

/** `visit` of 97 places below `length`. */
const sampled = (length: number, visit: (i: number) => [number, number]): [number, number][] =>
  Array.from({ length: 97 }, (_, i) => visit((i * 7919) % length))

/** The largest difference to the largest magnitude. */
function error(pairs: readonly (readonly [number, number])[]): string {
  const largest = pairs.reduce((most, [, wanted]) => Math.max(most, Math.abs(wanted)), 0)
  const worst = pairs.reduce((most, [got, wanted]) => Math.max(most, Math.abs(got - wanted)), 0)
  return `off by ${(worst / largest).toExponential(1)}`
}
