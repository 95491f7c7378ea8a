import { kernel, range, load, f32, threadIdx, fma, type f32 as F, unroll, shared, barrier, idiv, warpSum, warpIdx, laneIdx, loadWords, i32, type u32 } from '../../../dsl/index.ts'
import type { In, Out } from '../../../dsl/index.ts'
import { runKernel } from '../../support/run-kernel.ts'
import { openDevice } from '../../../runtime/open-device.ts'
const T = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160]

export const k1 = kernel(import.meta.url, { grid: () => [1], block: [128] }, function k1(a: { x: In<u32, 'N'>; out: Out<F, 'N'> }) {
  barrier()
  const row = warpIdx
  if (row < a.out.dim('N')) {
  let s: F = 0
  for (const i of range(laneIdx, 40, 32)) s = fma(f32(i), 3, s)
  const total = warpSum(s)
  a.out.put(total, threadIdx.x)
  }
})
export const k2 = kernel(import.meta.url, { grid: () => [1], block: [128] }, function k2(a: { x: In<u32, 'N'>; out: Out<F, 'N'> }) {
  const row = warpIdx
  if (row < a.out.dim('N')) {
  let s: F = 0
  for (const i of range(laneIdx, 40, 32)) s = fma(f32(i), 3, s)
  const total = warpSum(s)
  if (laneIdx === 0) a.out.put(total, row)
  }
})
export const k3 = kernel(import.meta.url, { grid: () => [1], block: [128] }, function k3(a: { x: In<u32, 'N'>; out: Out<F, 'N'> }) {
  barrier()
  const row = warpIdx
  if (row < a.out.dim('N')) {
  let s: F = 0
  for (const i of range(laneIdx, 40, 32)) s = fma(f32(i), 3, s)
  const total = warpSum(s)
  if (laneIdx === 0) a.out.put(total, row)
  }
})
const d = await openDevice()
for (const k of [k1, k2, k3]) {
  const x = Uint32Array.from({ length: 128 }, (_, i) => (i << 4) | 7)
  const o = await runKernel(d, k as never, {}, { x: { dtype: 'u32', shape: [128], data: x }, out: { dtype: 'f32', shape: [128] } })
  console.log(k.name, Array.from(o.out as Float32Array).join(' '))
}
