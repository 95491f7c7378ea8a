import type { WeightFormat } from '../../dsl/format.ts'
import { halves } from '../../dsl/half.ts'
import type { fp8 } from '../../kernels/formats/fp8.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import { gemm16Reference } from '../../kernels/gemm-16.ts'
import { gemmFp8Reference } from '../../kernels/gemm-fp8.ts'
import { activationType } from '../../kernels/gemm-operands.ts'
import { scaledProduct } from '../../kernels/gemm-reference.ts'
import { rng } from '../../test/support/rng.ts'
import { drawnRows, repeatedRow } from './host-operands.ts'
import type { Problem } from './problem.ts'

/** A kernel computes something else than its reference. */
export class WrongResult extends Error {
  override readonly name = 'WrongResult'
}

/** Features that are compared in each token. */
const sampledFeatures = 5

/**
 * Compares the output of a launch with the reference: no element of the first token, the last and another may be left
 * unwritten, and random ones of them are computed anew. Integer products must be right bit for bit, others within the
 * error of their f32 sums and the rounding to 16 bits. Throws `WrongResult`.
 */
export async function checkOutput(problem: Problem, tokens: number): Promise<void> {
  const { n: N } = problem.shape
  const random = rng(tokens)
  const rows = [...new Set([0, tokens - 1, random.integer(0, tokens - 1)])]
  for (const m of rows) {
    const features = Array.from({ length: sampledFeatures }, () => random.integer(0, N - 1))
    const output = (await problem.out.slice(m, m + 1).read()) as Uint16Array
    const unwritten = output.indexOf(0xffff)
    if (unwritten >= 0) throw new WrongResult(`out[${m}, ${unwritten}] was not written`)
    compare(problem, m, features, output)
  }
}

/** Fills the output with NaN. */
export const poison = ({ device, out }: Problem): void => device.fill(out, 0xff)

function compare(problem: Problem, m: number, features: readonly number[], output: Uint16Array): void {
  const { format, shape, host } = problem
  const { dtype } = format
  const K = shape.k
  const packer: WeightFormat = weightFormats[format.weights]
  const xType = activationType(format.weights, dtype)
  const operand = (n: number, k: number) =>
    packer.operand(host.parts, { n: n % drawnRows, k, K }, 'register', xType)
  const fail = (n: number, expected: number, bound: number) => {
    const actual = halves[dtype].value(output[n]!)
    if (!(Math.abs(actual - expected) <= bound))
      throw new WrongResult(`out[${m}, ${n}] is ${actual}, expected ${expected} within ${bound}`)
  }
  const x = repeatedRow(host.x, m, K)
  const xScale = Float32Array.of(host.xScale[m % host.xScale.length]!)
  for (const n of features) {
    const scale = Uint16Array.of(host.scale[n % host.scale.length]!)
    if (xType === 'i8') {
      const weights = Int8Array.from({ length: K }, (_, k) => operand(n, k))
      const [bits] = scaledProduct(weights, { M: 1, N: 1, K, dtype, x: x as Int8Array, xScale, scale })
      fail(n, halves[dtype].value(bits!), 0)
      continue
    }
    const rounding = dtype === 'bf16' ? 2 ** -8 : 2 ** -11
    if (xType === 'e4m3') {
      const codes = host.parts.codes.subarray((n % drawnRows) * K, ((n % drawnRows) + 1) * K) as Uint8Array
      const product = { M: 1, N: 1, K, dtype, x: x as Uint8Array, xScale, scale }
      const { value, magnitude } = gemmFp8Reference(packer as typeof fp8, { codes }, product)
      // The tensor cores of Hopper keep some 13 bits of sums of 8-bit floats.
      fail(n, value[0]!, 2 ** -10 * magnitude[0]! + rounding * Math.abs(value[0]!) * 1.01 + 2 ** -25)
      continue
    }
    const w = Uint16Array.from({ length: K }, (_, k) => operand(n, k))
    const { value, magnitude } = gemm16Reference({ M: 1, N: 1, K, dtype, w, x: x as Uint16Array })
    const [expected, error] = [value[0]!, magnitude[0]!]
    fail(n, expected, (K + 2) * 2 ** -22 * error + rounding * Math.abs(expected) * 1.01 + 2 ** -25)
  }
}
