import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { f16Bits, f16Value } from '../../../dsl/half.ts'
import {
  barrier,
  dtypeBytes,
  type Elem,
  each,
  f32,
  fenceAsync,
  type In,
  i32,
  idiv,
  kernel,
  loadWords,
  matrixOperand,
  namedArrive,
  namedBarrier,
  type Out,
  packFp8,
  range,
  regs,
  shared,
  specialize,
  stmatrix,
  store,
  storeWords,
  swizzledTile,
  threadIdx,
  to,
  u32,
  unpack2,
  unpackFp8,
  unroll,
  type WgmmaTypes,
  warpgroupIdx,
  warpIdx,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { assemble } from '../../support/ptxas.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { assertSame, runKernel } from '../../support/run-kernel.ts'

const device = openEmulator({ checks: true })

interface Product {
  readonly n: number
  readonly types: WgmmaTypes
  readonly a: 'registers' | 'shared'
  /** Of a row of both matrices, all K. */
  readonly bytes: number
  readonly sum: 'i32' | 'f32'
}

/** A (64 × K) times Bᵀ (n × K), rows as words. Two stages lie side by side; rows 8 and on of the second are used. */
export const product = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function product(
    a: { a: In<u32, '64 W'>; b: In<u32, 'N W'>; out: Out<Elem<'sum'>, 'S'>; stage: i32 },
    c: Product,
  ) {
    const atom = wgmmaAtom(c.n, c.types)
    const size = dtypeBytes[atom.b]
    const columns = c.bytes / size
    const left = shared(atom.a.dtype, swizzledTile([64, columns], atom.a.dtype))
    const right = shared(atom.b, swizzledTile([2, c.n + 8, columns], atom.b))
    const chunks = c.bytes / 16
    for (const i of range(threadIdx.x, 64 * chunks, 128)) {
      const [row, chunk] = [idiv(i, chunks), i % chunks]
      storeWords(left, [row, (16 / size) * chunk], loadWords(a.a, [row, 4 * chunk], 4))
    }
    for (const i of range(threadIdx.x, c.n * chunks, 128)) {
      const [row, chunk] = [idiv(i, chunks), i % chunks]
      storeWords(right, [a.stage, row + 8, (16 / size) * chunk], loadWords(a.b, [row, 4 * chunk], 4))
    }
    fenceAsync()
    barrier()
    const acc = c.sum === 'i32' ? regs(c.n / 2, i32(7)) : regs(c.n / 2, f32(7))
    const packed = 4 / size
    const fragments = each(c.bytes / 32, (step) =>
      [0, 1, 2, 3].map((r) => {
        const at = atom.a.layout(threadIdx.x, r * packed) as i32
        return a.a.at(at & 63, 8 * step + idiv(at >> 6, packed))
      }),
    )
    wgmmaFence()
    for (const step of unroll(c.bytes / 32)) {
      const column = (32 / size) * step
      const operand = c.a === 'shared' ? matrixOperand(left, [0, column]) : fragments[step]
      wgmma(atom, acc, operand, matrixOperand(right.row(a.stage), [8 * a.stage, column]), step > 0)
    }
    wgmmaCommit()
    wgmmaWait(0)
    for (const i of acc.keys()) a.out.put(acc[i], atom.c.layout(threadIdx.x, i) as i32)
  },
)

/** A float of 8 bits as a number. */
function fp8Value(bits: number, mantissaBits: 2 | 3): number {
  const bias = mantissaBits === 3 ? 7 : 15
  const exponent = (bits & 0x7f) >> mantissaBits
  const fraction = (bits & (2 ** mantissaBits - 1)) / 2 ** mantissaBits
  const size = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias)
  return bits & 0x80 ? -size : size
}

/** Bits of elements whose products add up exactly in f32, and their values. */
const elements: Readonly<Record<string, (random: Rng) => [bits: number, value: number]>> = {
  i8: (random) => {
    const value = random.integer(-128, 127)
    return [value & 255, value]
  },
  u8: (random) => {
    const value = random.integer(0, 255)
    return [value, value]
  },
  f16: (random) => {
    const bits = f16Bits(random.integer(-64, 64) / 8)
    return [bits, f16Value(bits)]
  },
  bf16: (random) => {
    const value = random.integer(-64, 64) / 8
    return [new Uint32Array(new Float32Array([value]).buffer)[0]! >>> 16, value]
  },
  e4m3: (random) => {
    const bits = random.integer(5 << 3, (9 << 3) | 7) | (random.integer(0, 1) << 7)
    return [bits, fp8Value(bits, 3)]
  },
  e5m2: (random) => {
    const bits = random.integer(13 << 2, (17 << 2) | 3) | (random.integer(0, 1) << 7)
    return [bits, fp8Value(bits, 2)]
  },
}

function matrix(random: Rng, dtype: string, rows: number, bytes: number) {
  const size = dtype === 'f16' || dtype === 'bf16' ? 2 : 1
  const data = new Uint8Array(rows * bytes)
  const values = Array.from({ length: (rows * bytes) / size }, (_, i) => {
    const [bits, value] = elements[dtype]!(random)
    data[i * size] = bits & 255
    if (size === 2) data[i * size + 1] = bits >> 8
    return value
  })
  return { words: new Uint32Array(data.buffer), values }
}

const allTypes: WgmmaTypes[] = ['s8s8', 's8u8', 'u8s8', 'u8u8', 'f16', 'bf16', 'e4m3', 'e5m2']

for (const [t, types] of allTypes.entries()) {
  test(`a product of a warpgroup, ${types}, with A in registers and in shared memory, in every swizzle`, async () => {
    const random = rng(70 + t)
    for (const [i, bytes] of [32, 64, 128].entries()) {
      const n = [8, 48, 24, 64, 16][(i + t) % 5]!
      const atom = wgmmaAtom(n, types)
      const columns = bytes / dtypeBytes[atom.b]
      const left = matrix(random, atom.a.dtype, 64, bytes)
      const right = matrix(random, atom.b, n, bytes)
      const expected = Array.from({ length: 64 * n }, (_, at) => {
        let sum = 0
        for (let k = 0; k < columns; k++)
          sum += left.values[(at % 64) * columns + k]! * right.values[Math.floor(at / 64) * columns + k]!
        return sum
      })
      for (const a of ['registers', 'shared'] as const) {
        const sum = atom.c.dtype as 'i32' | 'f32'
        const { out } = await runKernel(
          device,
          product,
          { n, types, a, bytes, sum },
          {
            a: { dtype: 'u32', shape: [64, bytes / 4], data: left.words },
            b: { dtype: 'u32', shape: [n, bytes / 4], data: right.words },
            out: { dtype: sum, shape: [64 * n] },
            stage: 1,
          },
        )
        assertSame(out!, expected, 64, `${atom.name} ${bytes} ${a}`)
      }
    }
  })
}

interface Rounds {
  readonly n: number
}

/** Sums over K in a run-time loop of two buffers of A, as GEMM kernels do; consumers and a producer by role. */
export const rounds = kernel(
  import.meta.url,
  { grid: () => [1], block: [256] },
  function rounds(a: { w: In<u32, 'K 512'>; x: In<u32, 'N 32'>; out: Out<i32, 'S'> }, c: Rounds) {
    const atom = wgmmaAtom(c.n, 'u8s8')
    const tile = shared<number>('i8', swizzledTile([c.n, 128], 'i8'))
    specialize({
      consumer: {
        warps: 4,
        registers: 160,
        run: () => {
          namedBarrier(1, 256)
          const acc = regs(c.n / 2, i32(0))
          for (const k of range(0, a.w.dim('K'), 2)) {
            for (const buffer of unroll(2)) {
              const words = loadWords(a.w, [k + buffer, 4 * threadIdx.x], 4)
              const steps = [words.map((w) => w & 0x0f0f0f0f), words.map((w) => (w >>> 4) & 0x0f0f0f0f)]
              wgmmaFence()
              for (const [s, fragment] of steps.entries())
                wgmma(atom, acc, fragment, matrixOperand(tile, [0, 32 * s]), s > 0 || k + buffer > 0)
              wgmmaCommit()
              wgmmaWait(1)
            }
          }
          wgmmaWait(0)
          for (const i of acc.keys()) a.out.put(acc[i], atom.c.layout(threadIdx.x, i) as i32)
        },
      },
      producer: {
        warps: 4,
        registers: 40,
        run: () => {
          for (const i of range(threadIdx.x - 128, c.n * 8, 128))
            storeWords(tile, [idiv(i, 8), 16 * (i % 8)], loadWords(a.x, [idiv(i, 8), 4 * (i % 8)], 4))
          fenceAsync()
          namedArrive(1, 256)
        },
      },
    })
  },
)

test('two buffers of A in turns add up a run-time K, between roles that hand over at a named barrier', async () => {
  const random = rng(91)
  const [n, k] = [32, 6]
  const w = Uint32Array.from({ length: k * 512 }, () => random.integer(0, 2 ** 32 - 1))
  const x = Int8Array.from({ length: n * 128 }, () => random.integer(-128, 127))
  const atom = wgmmaAtom(n, 'u8s8')
  const expected = new Array<number>(64 * n).fill(0)
  for (let round = 0; round < k; round++)
    for (let thread = 0; thread < 128; thread++)
      for (let value = 0; value < 16; value++) {
        const at = atom.a.layout(thread, value)
        const byte = (w[round * 512 + 4 * thread + (value >> 2)]! >>> (8 * (value & 3))) & 255
        for (let token = 0; token < n; token++)
          for (const [step, nibble] of [byte & 15, byte >> 4].entries())
            expected[64 * token + (at & 63)]! += nibble * x[token * 128 + 32 * step + (at >> 6)]!
      }
  const { out } = await runKernel(
    device,
    rounds,
    { n },
    {
      w: { dtype: 'u32', shape: [k, 512], data: w },
      x: { dtype: 'u32', shape: [n, 32], data: new Uint32Array(x.buffer) },
      out: { dtype: 'i32', shape: [64 * n] },
    },
  )
  assertSame(out!, expected, 64)
})

test('its wgmmas run on: ptxas neither serializes them nor spills', () => {
  const { ptx } = compileKernel(rounds, { n: 128 }, 'sm_90a')
  const log = assemble(ptx, 'sm_90a')
  if (log) assert.match(log, '0 bytes spill stores, 0 bytes spill loads')
})

test('a kernel of 128 accumulators compiles in less than a second of processor time', () => {
  const config = { n: 256, types: 'u8s8', a: 'registers', bytes: 128, sum: 'i32' } as const
  compileKernel(product, { ...config, n: 8 }, 'sm_90a')
  const start = process.cpuUsage()
  compileKernel(product, config, 'sm_90a')
  const { user, system } = process.cpuUsage(start)
  assert.ok(user + system < 1e6, `${user + system} µs`)
})

/** Each lane's words to a tile and back by rows. */
export const tiles = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function tiles(a: { x: In<u32, '32 4'>; out: Out<u32, '32 4'> }, c: { transposed: boolean }) {
    const tile = shared<number>('f16', swizzledTile([32, 16], 'f16'))
    const lane = threadIdx.x
    stmatrix(tile, [lane, 0], loadWords(a.x, [lane, 0], 4), { transposed: c.transposed })
    barrier()
    store(a.out, [lane, 0], loadWords(tile, [lane, 0], 4))
  },
)

test('stmatrix stores fragments as rows, or as columns', async () => {
  const random = rng(23)
  const halves = Uint16Array.from({ length: 256 }, () => random.integer(0, 65535))
  for (const transposed of [false, true]) {
    const { out } = await runKernel(
      device,
      tiles,
      { transposed },
      {
        x: { dtype: 'u32', shape: [32, 4], data: new Uint32Array(halves.buffer) },
        out: { dtype: 'u32', shape: [32, 4] },
      },
    )
    const stored = new Uint16Array(out!.buffer)
    for (let i = 0; i < 256; i++) {
      const [row, column] = [i >> 3, i & 7]
      const [r, k] = transposed ? [column, row & 7] : [row & 7, column]
      // Lane 4r + k/2 holds elements k and k + 1 of row r of a matrix in the word of the matrix.
      assert.is(stored[8 * row + column], halves[8 * (4 * r + (k >> 1)) + 2 * (row >> 3) + (k & 1)], `${i}`)
    }
  }
})

export const fp8 = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function fp8(
    a: { x: In<f32, '2 128'>; out: Out<f32, '2 128'>; word: Out<u32, '128'> },
    c: { type: 'e4m3' | 'e5m2' },
  ) {
    const word = packFp8(c.type, a.x.at(0, threadIdx.x), a.x.at(1, threadIdx.x))
    a.word.put(word, threadIdx.x)
    unpack2(unpackFp8(c.type, word)).forEach((half, i) => {
      a.out.put(to('f32', half), i, threadIdx.x)
    })
  },
)

test('8-bit floats are packed low byte first, round to nearest even, saturate and come back', async () => {
  const random = rng(29)
  for (const [type, mantissa, largest] of [
    ['e4m3', 3, 448],
    ['e5m2', 2, 57344],
  ] as const) {
    const values = Array.from({ length: 256 }, (_, i) => fp8Value(i, mantissa)).filter((_, i) =>
      mantissa === 3 ? (i & 0x7f) !== 0x7f : (i & 0x7f) <= 0x7b,
    )
    const nearest = (x: number): number => {
      const within = Math.sign(x) * Math.min(Math.abs(x), largest)
      const distance = (v: number) => Math.abs(v - within)
      const least = Math.min(...values.map(distance))
      const best = values.filter((v) => distance(v) === least)
      // Of two neighbours, the even one has a multiple of two steps.
      const step = best.length > 1 ? Math.abs(best[0]! - best[1]!) : 0
      return best.find((v) => step === 0 || Math.abs(v / step) % 2 === 0 || best.length === 1) ?? best[0]!
    }
    const x = Float32Array.from({ length: 256 }, (_, i) =>
      i < 64 ? random.normal() * 1e6 : i < 128 ? random.integer(-40, 40) / 16 : random.normal() * 10,
    )
    const { out, word } = await runKernel(
      device,
      fp8,
      { type },
      {
        x: { dtype: 'f32', shape: [2, 128], data: x },
        out: { dtype: 'f32', shape: [2, 128] },
        word: { dtype: 'u32', shape: [128] },
      },
    )
    for (let i = 0; i < 256; i++) {
      assert.is(Math.abs(out![i]! - nearest(x[i]!)), 0, `${type} of ${x[i]}`)
      const byte = (word![i % 128]! >>> (i < 128 ? 0 : 8)) & 255
      assert.is(fp8Value(byte, mantissa) + 0, out![i]! + 0)
      assert.is(word![i % 128]! >>> 16, 0)
    }
  }
})

/** Warpgroups part at conditions of `warpgroupIdx` and of multiples of four warps; each may use its own operations. */
export const parted = kernel(
  import.meta.url,
  { grid: () => [1], block: [384] },
  function parted(a: { out: Out<i32, '384'>; x: In<u32, '3 4'>; n: i32 }) {
    const tile = shared<number>('i8', swizzledTile([8, 32], 'i8'))
    const atom = wgmmaAtom(8, 'u8s8')
    if (threadIdx.x < 16)
      storeWords(tile, [threadIdx.x >> 1, 16 * (threadIdx.x & 1)], regs(4, u32(0x01010101)))
    fenceAsync()
    barrier()
    const multiply = (k: i32) => {
      const acc = regs(4, i32(0))
      const words = loadWords(a.x, [k, 0], 4)
      wgmmaFence()
      wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), false)
      wgmmaCommit()
      wgmmaWait(0)
      a.out.put(acc[0], threadIdx.x)
    }
    if (warpIdx >= 8) multiply(2)
    else if (warpgroupIdx === 0) multiply(0)
    else if (warpIdx >>> 2 === 1 && idiv(warpIdx, 4) > 4 * a.n) multiply(1)
  },
)

test('what parts warpgroups alone may stand before wgmma', async () => {
  const random = rng(37)
  const bytes = Uint8Array.from({ length: 48 }, () => random.integer(0, 255))
  const { out } = await runKernel(
    device,
    parted,
    {},
    {
      out: { dtype: 'i32', shape: [384] },
      x: { dtype: 'u32', shape: [3, 4], data: new Uint32Array(bytes.buffer) },
      n: 0,
    },
  )
  for (let i = 0; i < 384; i++) {
    // Words 0 and 2 are of the lane's row in its first half, the same in the four lanes of the row.
    const group = bytes.subarray(16 * (i >> 7), 16 * ((i >> 7) + 1))
    const row = [...group.subarray(0, 4), ...group.subarray(8, 12)].reduce((a, b) => a + b)
    assert.is(out![i], 4 * row)
  }
})

test.run()
