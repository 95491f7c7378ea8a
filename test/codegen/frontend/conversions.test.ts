import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../../dsl/half.ts'
import type { DType } from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import type { HostArray } from '../../../runtime/tensor.ts'
import { kernelAt, withKernelFile } from '../../support/kernel-text.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const THREADS = 64
const device = openEmulator()
const types = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8'] as const

const corners = [
  0, 0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 128, -128.5, 255.5, 256, -300, 3e9, -3e9, 70000, 1e-7, 1e38,
]
const integers = [0, 1, 127, 128, 255, 256, -1, -128, -129, 2 ** 31 - 1, -(2 ** 31), 65519, 16777217]

type Convertible = (typeof types)[number]

const arrays: Record<Convertible, (source: readonly number[]) => HostArray> = {
  f32: (v) => Float32Array.from(v),
  f16: (v) => Uint16Array.from(v, f16Bits),
  bf16: (v) => Uint16Array.from(v, bf16Bits),
  i32: (v) => Int32Array.from(v),
  u32: (v) => Uint32Array.from(v),
  i8: (v) => Int8Array.from(v),
  u8: (v) => Uint8Array.from(v),
}

function values(type: Convertible, random: Rng): HostArray {
  const float = type === 'f32' || type === 'f16' || type === 'bf16'
  const source = Array.from({ length: THREADS }, (_, i) =>
    float ? (corners[i] ?? random.normal() * 100) : (integers[i] ?? random.integer(-(2 ** 31), 2 ** 31)),
  )
  return arrays[type](source)
}

/** The number that a stored element stands for. */
const numberOf = (type: DType, stored: number): number =>
  type === 'f16' ? f16Value(stored) : type === 'bf16' ? bf16Value(stored) : stored

const clamp = (x: number, low: number, high: number): number =>
  Number.isNaN(x) ? 0 : Math.min(high, Math.max(low, x))

/** The stored element that `to(x)` gives: PTX `cvt`, saturating from floats to 32 bits, wrapping to 8. */
function converted(from: Convertible, to: Convertible, x: number): number {
  const float = from === 'f32' || from === 'f16' || from === 'bf16'
  switch (to) {
    case 'f32':
      return Math.fround(x)
    case 'f16':
      return f16Bits(x)
    case 'bf16':
      return bf16Bits(x)
    case 'i32':
      return float ? Math.trunc(clamp(x, -(2 ** 31), 2 ** 31 - 1)) | 0 : x | 0
    case 'u32':
      return float ? Math.trunc(clamp(x, 0, 2 ** 32 - 1)) >>> 0 : x >>> 0
    case 'i8':
      return ((float ? Math.trunc(clamp(x, -(2 ** 31), 2 ** 31 - 1)) : x) << 24) >> 24
    case 'u8':
      return (float ? Math.trunc(clamp(x, -(2 ** 31), 2 ** 31 - 1)) : x) & 255
  }
}

function roundToEven(x: number): number {
  const low = Math.floor(x)
  const rest = x - low
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1
}

interface Case {
  readonly from: Convertible
  readonly to: Convertible
  readonly call: string
  readonly expected: (x: number) => number
}

const cases: Case[] = [
  ...types.flatMap((from) =>
    types.map((to): Case => ({ from, to, call: to, expected: (x) => converted(from, to, x) })),
  ),
  {
    from: 'f32',
    to: 'i32',
    call: 'i32.round',
    expected: (x) => roundToEven(clamp(x, -(2 ** 31), 2 ** 31 - 1)) | 0,
  },
  {
    from: 'f16',
    to: 'i32',
    call: 'i32.round',
    expected: (x) => roundToEven(clamp(x, -(2 ** 31), 2 ** 31 - 1)) | 0,
  },
  { from: 'f32', to: 'u32', call: 'u32.round', expected: (x) => roundToEven(clamp(x, 0, 2 ** 32 - 1)) >>> 0 },
  { from: 'f32', to: 'i8', call: 'i8.sat', expected: (x) => clamp(roundToEven(x), -128, 127) },
  { from: 'f32', to: 'u8', call: 'u8.sat', expected: (x) => clamp(roundToEven(x), 0, 255) },
  { from: 'i32', to: 'i8', call: 'i8.sat', expected: (x) => clamp(x, -128, 127) },
  { from: 'i32', to: 'u8', call: 'u8.sat', expected: (x) => clamp(x, 0, 255) },
]

const text = `import { kernel, threadIdx, f32, f16, bf16, i32, u32, i8, u8, type In, type Out } from 'quattuor'
${cases
  .map(
    ({ from, to, call }, i) => `
export const c${i} = kernel(import.meta.url, { grid: () => [1], block: [${THREADS}] }, function c${i}(
  a: { x: In<${from}, 'N'>; out: Out<${to}, 'N'> },
) {
  a.out.put(${call}(a.x.at(threadIdx.x)), threadIdx.x)
})`,
  )
  .join('\n')}
`

test('conversions between all element types saturate, wrap and round as documented', async () => {
  await withKernelFile(text, async (url) => {
    const random = rng(11)
    for (const [i, { from, to, call, expected }] of cases.entries()) {
      const x = values(from, random)
      const { out } = await runKernel(
        device,
        kernelAt(url, `c${i}`, THREADS),
        {},
        {
          x: { dtype: from, shape: [THREADS], data: x },
          out: { dtype: to, shape: [THREADS] },
        },
      )
      for (let t = 0; t < THREADS; t++) {
        const value = numberOf(from, x[t]!)
        assert.is(out![t], expected(value), `${call}(${from} ${value})`)
      }
    }
  })
})

test.run()
