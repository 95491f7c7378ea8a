/** Arithmetic on static numbers that kernels and hosts share; both run it natively. */

export const LOG2E = Math.LOG2E

/** ⌈a / b⌉ of non-negative integers. */
export function ceilDiv(a: number, b: number): number {
  return Math.floor((a + b - 1) / b)
}

/** Rounds to the nearest integer, ties to even, as `cvt.rni` does. */
export function roundHalfEven(x: number): number {
  const nearest = Math.round(x)
  return Math.abs(x % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest
}
