import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16FromF32, f16FromF32, f32FromBf16 } from '../../dsl/half.ts'
import { convertHalf, packedHalfShape, packHalf, packHalfReference } from '../../kernels/pack-half.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { checkedEmulator } from '../support/checked-emulator.ts'
import { rng } from '../support/rng.ts'

const device = checkedEmulator()

/** Random bf16 numbers, small ones among them that f16 has as subnormals or not at all. */
function randomBits(length: number, seed: number): Uint16Array {
  const random = rng(seed)
  return bf16FromF32(Float32Array.from({ length }, () => random.normal() * 2 ** random.integer(-28, 6)))
}

for (const [N, K] of [
  [64, 128],
  [1, 16],
  [130, 272],
  [67, 400],
] as const)
  for (const [from, to] of [
    ['f16', 'f16'],
    ['bf16', 'bf16'],
    ['bf16', 'f16'],
  ] as const)
    test(`${N}x${K} ${from} to ${to}: packed as on the host`, async () => {
      const bits = randomBits(N * K, N + K)
      const src = Tensor.from(device, from, [N, K], bits)
      const large = Tensor.from(device, 'i32', [1], [0])
      const out = Tensor.allocate(device, 'u32', packedHalfShape(N, K))
      const launch = await prepare(device, packHalf, { K, from, to }, { src, large, out })
      launch.run()
      const codes = from === to ? bits : f16FromF32(f32FromBf16(bits))
      assert.equal(await out.read(), packHalfReference(codes, N, K))
      assert.equal([...(await large.read())], [0])
    })

// The largest bf16 that f16 can hold, and larger ones.
for (const value of [65280, 65536, -1e30])
  test(`${value} among bf16 weights ${Math.abs(value) > 65504 ? 'is told' : 'is nothing to tell'}`, async () => {
    const [N, K] = [3, 24]
    const bits = randomBits(N * K, 7)
    bits[41] = bf16FromF32(Float32Array.of(value))[0]!
    const src = Tensor.from(device, 'bf16', [N, K], bits)
    const large = Tensor.from(device, 'i32', [1], [0])
    const out = Tensor.allocate(device, 'f16', [N, K])
    const config = { K, from: 'bf16', to: 'f16' } as const
    ;(await prepare(device, convertHalf, config, { src, large, out })).run()
    assert.equal(await out.read(), f16FromF32(f32FromBf16(bits)))
    assert.equal([...(await large.read())], [Math.abs(value) > 65504 ? 1 : 0])
  })

test.after(() => device.close())
test.run()
