import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../../dsl/half.ts'
import {
  ballot,
  bf16x2,
  ceilDiv,
  dp4a,
  type f16,
  f16x2,
  f32,
  fma,
  funnelShiftLeft,
  funnelShiftRight,
  type In,
  i32,
  idiv,
  kernel,
  leadingZeros,
  lop3,
  mulHi,
  type Out,
  packBf16,
  packF16,
  permuteBytes,
  popCount,
  reduxAdd,
  reduxMax,
  reduxMin,
  shuffle,
  shuffleDown,
  shuffleUp,
  shuffleXor,
  threadIdx,
  u32,
  unpack2,
  voteAll,
  voteAny,
} from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = openEmulator()
const lanes = Array.from({ length: 32 }, (_, i) => i)

export const lanesTogether = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function lanesTogether(a: {
    x: In<i32, 'N'>
    h: In<f16, 'N'>
    out: Out<i32, '9 N'>
    half: Out<f16, '2 N'>
  }) {
    const i = threadIdx.x
    const x = a.x.at(i)
    const odd = (x & 1) === 1
    const rows = [
      shuffleXor(x, 5),
      shuffleDown(x, 3),
      shuffleUp(x, 2),
      shuffle(x, (i * 7) & 31),
      i32(u32(ballot(odd))),
      i32(voteAny(x === 12345)) + 2 * i32(voteAll(x < 1000000)),
      reduxAdd(x),
      reduxMax(x),
      reduxMin(x),
    ]
    rows.forEach((row, r) => {
      a.out.put(row, r, i)
    })
    a.half.put(shuffleXor(a.h.at(i), 9), 0, i)
    a.half.put(shuffle(a.h.at(i), 4), 1, i)
  },
)

test('shuffles, votes and reductions of a warp, for words and halves', async () => {
  const random = rng(1)
  const x = Int32Array.from(lanes, () => random.integer(-1000, 1000))
  const h = Uint16Array.from(lanes, () => f16Bits(random.normal()))
  const { out, half } = await runKernel(
    device,
    lanesTogether,
    {},
    {
      x: { dtype: 'i32', shape: [32], data: x },
      h: { dtype: 'f16', shape: [32], data: h },
      out: { dtype: 'i32', shape: [9, 32] },
      half: { dtype: 'f16', shape: [2, 32] },
    },
  )
  const odd = (lane: number) => x[lane]! & 1
  const all = (value: number) => lanes.map(() => value)
  assert.equal(
    Array.from({ length: 9 }, (_, r) => [...out!.slice(32 * r, 32 * r + 32)]),
    [
      lanes.map((i) => x[i ^ 5]),
      lanes.map((i) => x[i + 3] ?? x[i]),
      lanes.map((i) => x[i - 2] ?? x[i]),
      lanes.map((i) => x[(i * 7) & 31]),
      all(lanes.reduce((bits, i) => bits | (odd(i) << i), 0)),
      all(2),
      all(x.reduce((a, b) => a + b)),
      all(Math.max(...x)),
      all(Math.min(...x)),
    ],
  )
  assert.equal([...half!], [...lanes.map((i) => h[i ^ 9]!), ...lanes.map(() => h[4]!)])
})

export const words = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function words(a: { x: In<u32, 'N'>; y: In<u32, 'N'>; z: In<u32, 'N'>; out: Out<u32, '14 N'> }) {
    const i = threadIdx.x
    const [x, y, z] = [a.x.at(i), a.y.at(i), a.z.at(i)]
    const rows = [
      permuteBytes(x, y, 0x7214),
      lop3(x, y, z, 0xca),
      funnelShiftLeft(x, y, z),
      funnelShiftRight(x, y, z),
      u32(popCount(x)),
      u32(leadingZeros(x >>> 7)),
      mulHi(x, y),
      u32(mulHi(i32(x), i32(y))),
      u32(dp4a(x, y, i32(z), 'i8', 'i8')),
      u32(dp4a(x, y, i32(z), 'u8', 'i8')),
      idiv(x, 8),
      u32(idiv(i32(x), 8)),
      u32(idiv(i32(x), i32((y >>> 8) + 1))),
      ceilDiv(x >>> 4, 48),
    ]
    rows.forEach((row, r) => {
      a.out.put(row, r, i)
    })
  },
)

test('bit operations, dot products and integer divisions', async () => {
  const random = rng(2)
  const word = () => random.integer(0, 2 ** 32 - 1)
  const [x, y, z] = [0, 1, 2].map(() => Uint32Array.from(lanes, word)) as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ]
  const { out } = await runKernel(
    device,
    words,
    {},
    {
      x: { dtype: 'u32', shape: [32], data: x },
      y: { dtype: 'u32', shape: [32], data: y },
      z: { dtype: 'u32', shape: [32], data: z },
      out: { dtype: 'u32', shape: [14, 32] },
    },
  )
  const bytesOf = (w: number) => [0, 8, 16, 24].map((shift) => (w >>> shift) & 255)
  const signed = (byte: number) => (byte << 24) >> 24
  const dot = (a: number, b: number, c: number, sign: (v: number) => number) =>
    bytesOf(a).reduce((sum, byte, k) => sum + sign(byte) * signed(bytesOf(b)[k]!), c | 0) >>> 0
  const wide = (a: number, b: number, c: number) => ((BigInt(b) << 32n) | BigInt(a)) * 1n + BigInt(c) * 0n
  const expected = lanes.map((i) => {
    const [a, b, c] = [x[i]!, y[i]!, z[i]!]
    const all = [...bytesOf(a), ...bytesOf(b)]
    const pair = wide(a, b, c)
    const by = BigInt(c & 31)
    return [
      [4, 1, 2, 7].reduce((w, k, at) => w | (all[k]! << (8 * at)), 0) >>> 0,
      ((a & b) | (~a & c)) >>> 0,
      Number(((pair << by) >> 32n) & 0xffffffffn),
      Number((pair >> by) & 0xffffffffn),
      a.toString(2).replace(/0/g, '').length,
      Math.clz32(a >>> 7),
      Number((BigInt(a) * BigInt(b)) >> 32n),
      Number(BigInt.asUintN(32, (BigInt(a | 0) * BigInt(b | 0)) >> 32n)),
      dot(a, b, c, signed),
      dot(a, b, c, (v) => v),
      a >>> 3,
      Math.trunc((a | 0) / 8) >>> 0,
      Math.trunc((a | 0) / ((b >>> 8) + 1)) >>> 0,
      Math.ceil((a >>> 4) / 48),
    ]
  })
  for (const i of lanes)
    assert.equal(
      expected[i]!.map((_, r) => out![32 * r + i]),
      expected[i],
      `lane ${i}`,
    )
})

export const pairs = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function pairs(a: { x: In<f32, 'N'>; y: In<f32, 'N'>; out: Out<u32, '4 N'>; floats: Out<f32, '3 N'> }) {
    const i = threadIdx.x
    const [x, y] = [a.x.at(i), a.y.at(i)]
    const half = packF16(x, y)
    const brain = packBf16(x, y)
    a.out.put(u32.bits(half), 0, i)
    a.out.put(u32.bits(brain), 1, i)
    a.out.put(u32.bits(fma(half, half, f16x2(0.5))), 2, i)
    a.out.put(u32.bits(fma(brain, bf16x2(2), brain)), 3, i)
    const [low, high] = unpack2(f16x2.bits(u32.bits(half)))
    a.floats.put(f32(low) - f32(high), 0, i)
    a.floats.put(fma(x, y, -1), 1, i)
    a.floats.put(f32.bits(u32.bits(x) ^ 0x80000000), 2, i)
  },
)

test('pairs of halves: packing, fused arithmetic and bits', async () => {
  const random = rng(3)
  const x = Float32Array.from(lanes, () => random.normal())
  const y = Float32Array.from(lanes, () => random.normal())
  const { out, floats } = await runKernel(
    device,
    pairs,
    {},
    {
      x: { dtype: 'f32', shape: [32], data: x },
      y: { dtype: 'f32', shape: [32], data: y },
      out: { dtype: 'u32', shape: [4, 32] },
      floats: { dtype: 'f32', shape: [3, 32] },
    },
  )
  const pair = (low: number, high: number) => (low | (high << 16)) >>> 0
  for (const i of lanes) {
    const [a, b] = [f16Value(f16Bits(x[i]!)), f16Value(f16Bits(y[i]!))]
    const [c, d] = [bf16Value(bf16Bits(x[i]!)), bf16Value(bf16Bits(y[i]!))]
    assert.equal(
      [0, 1, 2, 3].map((r) => out![32 * r + i]),
      [
        pair(f16Bits(x[i]!), f16Bits(y[i]!)),
        pair(bf16Bits(x[i]!), bf16Bits(y[i]!)),
        pair(f16Bits(a * a + 0.5), f16Bits(b * b + 0.5)),
        pair(bf16Bits(3 * c), bf16Bits(3 * d)),
      ],
      `pairs of lane ${i}`,
    )
    assert.equal(
      [0, 1, 2].map((r) => floats![32 * r + i]),
      [Math.fround(a - b), Math.fround(x[i]! * y[i]! - 1), Math.fround(-x[i]!)],
      `floats of lane ${i}`,
    )
  }
})

test.run()
