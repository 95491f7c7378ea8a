import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type WgmmaTypes, wgmmaAtom } from '../../dsl/atoms/wgmma.ts'
import type { DType } from '../../dsl/dtype.ts'
import type { Kernel } from '../../dsl/kernel.ts'
import { bytesOf } from '../../runtime/bytes.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import type { HostArray } from '../../runtime/tensor.ts'
import { type Rng, rng } from '../support/rng.ts'
import { type HostArguments, runKernel } from '../support/run-kernel.ts'
import { conversions, matrices, products, tiles } from './lane-maps.ts'

/*
 * Where the elements of fragments and tiles lie on a GPU, against the emulator: operands that are zero but for one
 * element, at every place in turn. Everywhere else a second implementation tells; the emulator's decoder has none.
 */
const { gpus } = await describeDevices()
const gpu = gpus.find(({ target }) => target?.name === 'sm_90a')
const test = suite('fragments and tiles on CUDA')
if (!gpu) {
  console.log('skipped: the fragments and tiles of a GPU against the emulator, because no GPU of sm_90a')
  test.skip('needs a GPU', () => {})
}
const check = (gpu ? test : test.skip) as typeof test

const device = gpu && (await openDevice(gpu.name))
const emulator = openEmulator()
test.after(async () => {
  await device?.close()
  await emulator.close()
})

// biome-ignore lint/suspicious/noExplicitAny: kernels of different arguments
async function onBoth(kernel: Kernel<any, any>, config: object, args: HostArguments) {
  return [
    await runKernel(device!, kernel, config, args),
    await runKernel(emulator, kernel, config, args),
  ] as const
}

function assertEqualArrays(actual: HostArray, expected: HostArray, place: (index: number) => string): void {
  for (let i = 0; i < expected.length; i++)
    if (!Object.is(actual[i], expected[i]) && actual[i] !== expected[i])
      assert.unreachable(`${place(i)}: ${actual[i]} on the GPU, ${expected[i]} on the emulator`)
}

interface Operands {
  readonly a: DType
  readonly b: DType
  readonly out: 'i32' | 'f32'
  readonly bytes: 1 | 2
  /** The code of the element that is not zero. */
  readonly one: number
  /** Codes of finite elements of many values. */
  readonly random: (random: Rng) => number
}

const byte = (random: Rng): number => random.integer(0, 255)
const operands: Readonly<Partial<Record<WgmmaTypes, Operands>>> = {
  u8s8: { a: 'u8', b: 'i8', out: 'i32', bytes: 1, one: 1, random: byte },
  s8u8: { a: 'i8', b: 'u8', out: 'i32', bytes: 1, one: 255, random: byte },
  f16: { a: 'f16', b: 'f16', out: 'f32', bytes: 2, one: 0x3c00, random: (r) => r.integer(0x2000, 0x5000) },
  bf16: { a: 'bf16', b: 'bf16', out: 'f32', bytes: 2, one: 0x3f80, random: (r) => r.integer(0x3000, 0x4800) },
  e4m3: { a: 'e4m3', b: 'e4m3', out: 'f32', bytes: 1, one: 0x38, random: (r) => r.integer(1, 0x7e) },
  e5m2: { a: 'e5m2', b: 'e5m2', out: 'f32', bytes: 1, one: 0x3c, random: (r) => r.integer(1, 0x7b) },
}

const columns = 16

function arrayOf(dtype: DType, count: number): Int8Array | Uint8Array | Uint16Array {
  if (dtype === 'f16' || dtype === 'bf16') return new Uint16Array(count)
  return dtype === 'i8' ? new Int8Array(count) : new Uint8Array(count)
}

function fill(array: { length: number; [index: number]: number }, element: () => number): void {
  for (let i = 0; i < array.length; i++) array[i] = element()
}

interface Probe {
  readonly types: WgmmaTypes
  readonly from: 'registers' | 'shared'
  readonly rowBytes: 32 | 64 | 128
  /** Which operand has one element that is not zero. */
  readonly oneHot: 'a' | 'b'
}

async function probe({ types, from, rowBytes, oneHot }: Probe): Promise<void> {
  const o = operands[types]!
  const { k } = wgmmaAtom(columns, types)
  const elements = rowBytes / o.bytes
  const first = elements - k
  const places = (oneHot === 'a' ? 64 : columns) * k
  const random = rng(rowBytes + places)
  const a = arrayOf(o.a, places * 64 * elements)
  const b = arrayOf(o.b, places * columns * elements)
  const fragments = new Uint32Array(places * 512)
  const codes = o.bytes === 2 ? new Uint16Array(fragments.buffer) : new Uint8Array(fragments.buffer)
  const perPlace = codes.length / places
  for (let place = 0; place < places; place++) {
    const row = Math.floor(place / k)
    const at = first + (place % k)
    if (oneHot === 'a') {
      a[(place * 64 + row) * elements + at] = o.one
      // In registers the places are those of the register file: word after word of thread after thread.
      codes[place * perPlace + place] = o.one
    } else b[(place * columns + row) * elements + at] = o.one
  }
  if (oneHot === 'a') fill(b, () => o.random(random))
  else {
    fill(a, () => o.random(random))
    fill(codes, () => o.random(random))
  }
  const config = { types, a: o.a, b: o.b, out: o.out, columns, rowBytes, from }
  const args = {
    fragments: { dtype: 'u32', shape: [places, 128, 4], data: fragments },
    a: { dtype: o.a, shape: [places * 64, elements], data: a },
    b: { dtype: o.b, shape: [places * columns, elements], data: b },
    out: { dtype: o.out, shape: [places, 128, columns / 2] },
  } as const
  const [onGpu, onEmulator] = await onBoth(products, config, args)
  assertEqualArrays(onGpu.out!, onEmulator.out!, (i) => {
    const registers = columns / 2
    const thread = Math.floor(i / registers) % 128
    return `place ${Math.floor(i / registers / 128)}, thread ${thread}, register ${i % registers}`
  })
  assert.ok((onGpu.out as Int32Array).some((value) => value !== 0))
}

const probes: readonly Probe[] = (['u8s8', 's8u8', 'f16', 'bf16', 'e4m3', 'e5m2'] as const).flatMap(
  (types, i) =>
    (['registers', 'shared'] as const).flatMap((from, j) =>
      (['a', 'b'] as const).map((oneHot, l): Probe => {
        const rowBytes = ([32, 64, 128] as const)[(i + j + l) % 3]!
        return { types, from, rowBytes, oneHot }
      }),
    ),
)
for (const p of probes)
  check(`wgmma ${p.types}, A in ${p.from}, one element of ${p.oneHot}, rows of ${p.rowBytes} bytes`, () =>
    probe(p),
  )

/** Sums on the GPU keep fewer bits than f32: by how much the emulator's may differ, of the sum of magnitudes. */
const precision = { f16: 2 ** -20, e4m3: 2 ** -12 } as const

for (const types of ['f16', 'e4m3'] as const)
  check(`wgmma ${types}, dense operands`, async () => {
    const o = operands[types]!
    const random = rng(5)
    const { k } = wgmmaAtom(columns, types)
    const elements = 128 / o.bytes
    const signed = (dtype: DType, count: number) => {
      const data = arrayOf(dtype, count)
      const sign = o.bytes === 2 ? 0x8000 : 0x80
      fill(data, () => o.random(random) | (random.integer(0, 1) * sign))
      return data
    }
    const args = {
      fragments: { dtype: 'u32', shape: [1, 128, 4], data: new Uint32Array(512) },
      a: { dtype: o.a, shape: [64, elements], data: signed(o.a, 64 * elements) },
      b: { dtype: o.b, shape: [columns, elements], data: signed(o.b, columns * elements) },
      out: { dtype: 'f32', shape: [1, 128, columns / 2] },
    } as const
    const config = { types, a: o.a, b: o.b, out: 'f32', columns, rowBytes: 128, from: 'shared' }
    const [onGpu, onEmulator] = await onBoth(products, config, args)
    const expected = onEmulator.out as Float32Array
    const largest = Math.max(...expected.map(Math.abs))
    ;(onGpu.out as Float32Array).forEach((value, i) => {
      const off = Math.abs(value - expected[i]!) / (k * largest)
      assert.ok(off <= precision[types], `${value} on the GPU, ${expected[i]} on the emulator`)
    })
  })

for (const dtype of ['u8', 'f16'] as const)
  for (const rowBytes of [32, 64, 128])
    check(`a tile of ${dtype} in rows of ${rowBytes} bytes, over the edges of its tensor`, async () => {
      const bytes = dtype === 'f16' ? 2 : 1
      const random = rng(rowBytes)
      const shape = [13, 48 / bytes]
      const data = arrayOf(dtype, shape[0]! * shape[1]!)
      fill(data, () => random.integer(1, 255))
      const config = { dtype, rows: 16, columns: rowBytes / bytes }
      const [onGpu, onEmulator] = await onBoth(tiles, config, {
        x: { dtype, shape, data },
        out: { dtype: 'u32', shape: [(16 * rowBytes) / 4] },
      })
      assertEqualArrays(onGpu.out!, onEmulator.out!, (i) => `word ${i}`)
    })

for (const count of [1, 2, 4])
  for (const transposed of [false, true])
    check(`stmatrix of ${count}${transposed ? ', transposed' : ''}`, async () => {
      const random = rng(count)
      const data = Uint32Array.from(
        { length: 8 * 128 },
        () => random.integer(0, 0xffff) * 65536 + byte(random),
      )
      const [onGpu, onEmulator] = await onBoth(
        matrices,
        { count, transposed },
        { x: { dtype: 'u32', shape: [8, 32, 4], data }, out: { dtype: 'u32', shape: [8, 128] } },
      )
      assertEqualArrays(onGpu.out!, onEmulator.out!, (i) => `word ${i}`)
    })

for (const type of ['e4m3', 'e5m2'] as const)
  check(`conversions of ${type}, infinities and NaN among them`, async () => {
    const N = 65536
    const random = rng(77)
    const bits = Uint32Array.from({ length: 2 * N }, (_, i) => {
      // Every sign and exponent; fractions at random, and those of NaN and of midpoints.
      const fraction = i % 3 === 0 ? (random.integer(0, 15) << 19) >>> 0 : random.integer(0, 0x7fffff)
      return (((i & 511) << 23) | fraction) >>> 0
    })
    const [onGpu, onEmulator] = await onBoth(
      conversions,
      { type },
      {
        x: { dtype: 'f32', shape: [N, 2], data: new Float32Array(bits.buffer) },
        packed: { dtype: 'u32', shape: [N] },
        halves: { dtype: 'f16', shape: [N, 2] },
      },
    )
    assertEqualArrays(onGpu.packed!, onEmulator.packed!, (i) => `pair ${i}`)
    assert.equal(bytesOf(onGpu.halves!), bytesOf(onEmulator.halves!))
  })

test.run()
