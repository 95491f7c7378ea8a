import { QuantizeError } from './error.ts'

/** Whether `n` is a power of two. */
export const isPowerOfTwo = (n: number): boolean => n > 0 && 2 ** Math.round(Math.log2(n)) === n

/**
 * The normalised Hadamard matrix of order n, row-major: entries ±1/√n, orthogonal. Powers of two are Sylvester's
 * construction, as kernels compute it; other orders are 2ᵏ times a matrix of Paley's, over fields of p or p² elements
 * (R. Paley, "On orthogonal matrices", 1933), Kronecker products with Sylvester's to the left. Throws `QuantizeError`
 * for orders that these do not reach.
 */
export function hadamardMatrix(n: number): Float64Array {
  if (isPowerOfTwo(n)) return kronecker(sylvester(n), n, Int8Array.of(1), 1)
  for (let left = 1; n % left === 0; left *= 2) {
    const core = paley(n / left)
    if (core) return kronecker(sylvester(left), left, core, n / left)
  }
  throw new QuantizeError(
    `no Hadamard matrix of order ${n} is known here (2ᵏ times Paley's); leave the rotation out of the recipe`,
  )
}

function sylvester(n: number): Int8Array {
  return Int8Array.from({ length: n * n }, (_, i) => {
    let bits = Math.floor(i / n) & (i % n)
    let sign = 1
    for (; bits > 0; bits &= bits - 1) sign = -sign
    return sign
  })
}

function kronecker(a: Int8Array, n: number, b: Int8Array, m: number): Float64Array {
  const order = n * m
  const norm = 1 / Math.sqrt(order)
  const at = (row: number, column: number): number =>
    a[Math.floor(row / m) * n + Math.floor(column / m)]! * b[(row % m) * m + (column % m)]!
  return Float64Array.from({ length: order * order }, (_, i) => at(Math.floor(i / order), i % order) * norm)
}

/** Paley's matrix of order m: q + 1 with q ≡ 3 (mod 4) elements in its field, or 2(q + 1) with q ≡ 1. */
function paley(m: number): Int8Array | undefined {
  const first = m % 4 === 0 ? conference(m - 1, 3) : undefined
  if (first) return first.map((value, i) => (i % (m + 1) === 0 ? 1 : value))
  const half = m / 2
  const second = m % 4 === 0 ? conference(half - 1, 1) : undefined
  // Each entry becomes a block of order 2: 0 [[1, −1], [−1, −1]], ±1 ±[[1, 1], [1, −1]].
  return (
    second &&
    Int8Array.from({ length: m * m }, (_, i) => {
      const [row, column] = [Math.floor(i / m), i % m]
      const value = second[(row >> 1) * half + (column >> 1)]!
      const [low, right] = [(row & 1) === 1, (column & 1) === 1]
      if (value === 0) return low || right ? -1 : 1
      return low && right ? -value : value
    })
  )
}

/**
 * The matrix of order q + 1 with zeros on the diagonal, the quadratic characters of differences of the field's elements
 * below a row of ones; skew where q ≡ 3 (mod 4), symmetric where q ≡ 1. Nothing where q, or its root, is not a prime, or
 * is of the other kind.
 */
function conference(q: number, kind: 1 | 3): Int8Array | undefined {
  if (q % 4 !== kind) return undefined
  const character = quadraticCharacter(q)
  if (!character) return undefined
  const n = q + 1
  return Int8Array.from({ length: n * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n]
    if (row === 0) return column === 0 ? 0 : 1
    if (column === 0) return kind === 3 ? -1 : 1
    return character(row - 1, column - 1)
  })
}

/** The quadratic character of the difference of two elements, numbered from 0, of the field of q elements. */
function quadraticCharacter(q: number): ((a: number, b: number) => number) | undefined {
  const squares = (p: number): Int8Array => {
    const is = new Int8Array(p).fill(-1)
    for (let i = 1; i < p; i++) is[(i * i) % p] = 1
    is[0] = 0
    return is
  }
  if (isPrime(q)) {
    const of = squares(q)
    return (a, b) => of[(a - b + q) % q]!
  }
  const p = Math.round(Math.sqrt(q))
  if (p * p !== q || p === 2 || !isPrime(p)) return undefined
  const of = squares(p)
  const root = of.indexOf(-1)
  // Elements are x + y·√root; one is a square where its norm x² − root·y² is a square of the field of p elements.
  return (a, b) => {
    const x = ((a % p) - (b % p) + p) % p
    const y = (Math.floor(a / p) - Math.floor(b / p) + p) % p
    return of[(((x * x - root * y * y) % p) + p) % p]!
  }
}

function isPrime(n: number): boolean {
  if (n < 2) return false
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false
  return true
}
