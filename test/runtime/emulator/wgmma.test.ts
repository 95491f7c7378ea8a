import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type WgmmaTypes, wgmmaAtom, wgmmaHas } from '../../../dsl/atoms/wgmma.ts'
import { swizzledTile } from '../../../dsl/layout/index.ts'
import type { EmulatorOptions } from '../../../runtime/emulator/device.ts'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, run } from './support.ts'
import {
  columnsOfTests,
  elementValue,
  operandTypes,
  productPtx,
  randomCodes,
  type Swizzling,
} from './wgmma-kernel.ts'

/*
 * Products of a warpgroup against a plain sum of products. Fragments and tiles are laid out by the compiler's tables
 * (`wgmmaAtom`, `swizzledTile`), which the emulator does not read: where the two disagree, nothing fits.
 */

interface Case {
  readonly types: WgmmaTypes
  readonly n: number
  readonly a: 'registers' | 'shared'
  readonly swizzling: Swizzling
}

const types: readonly WgmmaTypes[] = ['s8s8', 's8u8', 'u8s8', 'u8u8', 'f16', 'bf16', 'e4m3', 'e5m2']
const swizzlings: readonly Swizzling[] = ['none', 32, 64, 128]
const cases = types.flatMap((type, t) =>
  columnsOfTests
    .filter((n) => wgmmaHas(n, type))
    .flatMap((n, i) =>
      (['registers', 'shared'] as const).map((a, j): Case => {
        // Each type meets all four ways to lie in shared memory.
        return { types: type, n, a, swizzling: swizzlings[(t + i + 2 * j) % 4]! }
      }),
    ),
)
const nameOf = ({ types: t, n, a, swizzling }: Case): string => `k_${t}_n${n}_${a}_${swizzling}`

const text = moduleText(
  cases.map((c) => kernelText(nameOf(c), ['u64', 'u64', 'u64', 'u64'], [128, 1, 1], productPtx(c))),
)

/** Where byte `k` of a row lies in a tile in shared memory. */
function tileOffset(swizzling: Swizzling, rows: number): (row: number, k: number) => number {
  // Eight rows of 16 bytes one after the other, then the next 16 bytes of K, then the next eight rows.
  if (swizzling === 'none') return (row, k) => (row >> 3) * 256 + (k >> 4) * 128 + (row & 7) * 16 + (k & 15)
  const tile = swizzledTile([rows, swizzling], 'u8')
  return (row, k) => tile(row, k)
}

for (const [index, c] of cases.entries()) {
  test(nameOf(c), async () => {
    const random = rng(index)
    const atom = wgmmaAtom(c.n, c.types)
    const [aType, bType] = operandTypes(c.types)
    const elementBytes = 32 / atom.k
    const rowBytes = c.swizzling === 'none' ? 32 : c.swizzling
    const steps = rowBytes / 32
    const K = rowBytes / elementBytes
    const a = randomCodes(random, aType, 64 * K)
    const b = randomCodes(random, bType, c.n * K)

    const image = (codes: readonly number[], rows: number): Uint8Array => {
      const bytes = new Uint8Array(rows * rowBytes)
      const at = tileOffset(c.swizzling, rows)
      for (let row = 0; row < rows; row++)
        for (let k = 0; k < rowBytes; k++) {
          const code = codes[row * K + Math.floor(k / elementBytes)]!
          bytes[at(row, k)] = code >> (8 * (k % elementBytes))
        }
      return bytes
    }
    // A's registers of every step, four to a thread.
    const fragments = new Uint8Array(steps * 128 * 16)
    for (let step = 0; step < steps; step++)
      for (let thread = 0; thread < 128; thread++)
        for (let value = 0; value < 16 / elementBytes; value++) {
          const element = atom.a.layout(thread, value)
          const code = a[(element % 64) * K + step * atom.k + Math.floor(element / 64)]!
          for (let byte = 0; byte < elementBytes; byte++)
            fragments[(step * 128 + thread) * 16 + value * elementBytes + byte] = code >> (8 * byte)
        }
    const initial = Array.from({ length: 64 * c.n }, () => random.integer(-50, 50))
    const isInteger = atom.c.dtype === 'i32'
    const kernel = { name: nameOf(c), ptx: text, block: [128, 1, 1] as const, sharedBytes: 1024 * 40 }
    const multiply = async (options: EmulatorOptions) => {
      const d = isInteger ? Int32Array.from(initial) : Float32Array.from(initial)
      await run(kernel, [1, 1, 1], [image(a, 64), image(b, c.n), fragments, d], options)
      return d
    }
    const d = await multiply({ workers: 1 })
    if (index % 5 === 0)
      assert.equal(await multiply({ checks: true, schedule: 'shuffled', seed: index }), d, 'checked')

    const registers = atom.c.registers
    for (let thread = 0; thread < 128; thread++)
      for (let register = 0; register < registers; register++) {
        const element = atom.c.layout(thread, register)
        const row = element % 64
        const column = Math.floor(element / 64)
        let sum = initial[thread * registers + register]!
        let magnitude = Math.abs(sum)
        for (let k = 0; k < K; k++) {
          const product = elementValue(aType, a[row * K + k]!) * elementValue(bType, b[column * K + k]!)
          sum += product
          magnitude += Math.abs(product)
        }
        const got = d[thread * registers + register]!
        // Exact for integers; a sum of K products in f32 errs by at most K roundings of its partial sums.
        const tolerance = isInteger ? 0 : K * 2 ** -24 * magnitude
        if (!(Math.abs(got - sum) <= tolerance))
          assert.unreachable(`D[${row}][${column}] is ${got}, not ${sum}`)
      }
  })
}

test.run()
