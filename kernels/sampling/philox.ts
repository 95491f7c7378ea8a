import { mulHi, u32, unroll } from '../../dsl/index.ts'

/**
 * Philox4x32-10: random numbers from a counter and a key, without a state, so that a draw depends on what it is for and on
 * nothing that was drawn before. Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (2011).
 */

const MULTIPLIERS = [0xd2511f53, 0xcd9e8d57] as const
const WEYL = [0x9e3779b9, 0xbb67ae85] as const
const ROUNDS = 10

/** Device: four random words of a counter under a key. */
export function philox(counter: readonly u32[], key: readonly u32[]): u32[] {
  let [x0, x1, x2, x3] = counter as [u32, u32, u32, u32]
  let [k0, k1] = key as [u32, u32]
  for (const _ of unroll(ROUNDS)) {
    const [low0, high0] = [x0 * u32(MULTIPLIERS[0]), mulHi(x0, u32(MULTIPLIERS[0]))]
    const [low1, high1] = [x2 * u32(MULTIPLIERS[1]), mulHi(x2, u32(MULTIPLIERS[1]))]
    x0 = high1 ^ x1 ^ k0
    x1 = low1
    x2 = high0 ^ x3 ^ k1
    x3 = low0
    k0 = k0 + u32(WEYL[0])
    k1 = k1 + u32(WEYL[1])
  }
  return [x0, x1, x2, x3]
}

/** `philox` on the host. */
export function philoxReference(counter: readonly number[], key: readonly number[]): number[] {
  let [x0, x1, x2, x3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint]
  let [k0, k1] = key.map(BigInt) as [bigint, bigint]
  const word = 0xffffffffn
  for (let round = 0; round < ROUNDS; round++) {
    const first = x0 * BigInt(MULTIPLIERS[0])
    const second = x2 * BigInt(MULTIPLIERS[1])
    x0 = (second >> 32n) ^ x1 ^ k0
    x1 = second & word
    x2 = (first >> 32n) ^ x3 ^ k1
    x3 = first & word
    k0 = (k0 + BigInt(WEYL[0])) & word
    k1 = (k1 + BigInt(WEYL[1])) & word
  }
  return [x0, x1, x2, x3].map(Number)
}
