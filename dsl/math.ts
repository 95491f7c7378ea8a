/** Arithmetic on static numbers that kernels and hosts share; both run it natively. */

export const LOG2E = Math.LOG2E

/** ⌈a / b⌉ of non-negative integers. */
export function ceilDiv(a: number, b: number): number {
  return Math.floor((a + b - 1) / b)
}
