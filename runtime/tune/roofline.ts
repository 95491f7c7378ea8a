/** What a GPU could do at best. */
export interface Ceilings {
  readonly bytesPerSecond: number
  /** 8-bit integer, 8-bit float and 16-bit products; a multiply-add is two operations. */
  readonly int8OpsPerSecond: number
  readonly fp8OpsPerSecond: number
  readonly f16OpsPerSecond: number
}

/**
 * By device slug. Reading and 8-bit integer `wgmma` as measured on an H200 (2026-11-20), where 8-bit floats have the same
 * rate by the data sheet; 16-bit as cuBLAS reaches it there on its best day, 752 TFLOPS, and some above.
 */
export const ceilings: Readonly<Record<string, Ceilings>> = {
  'nvidia-h200': {
    bytesPerSecond: 4.57e12,
    int8OpsPerSecond: 1950e12,
    fp8OpsPerSecond: 1950e12,
    f16OpsPerSecond: 800e12,
  },
}

/** What a launch must move and compute at least. */
export interface Work {
  /** Each input read once and each output written once. */
  readonly bytes: number
  /** On the matrix units; 0 for kernels that leave them alone. */
  readonly ops: number
  /** The type of the products. */
  readonly unit: MatrixUnit
}

export type MatrixUnit = 'int8' | 'fp8' | 'f16'

/** Operations a second of a matrix unit. */
export function opsPerSecond(unit: MatrixUnit, ceiling: Ceilings): number {
  if (unit === 'int8') return ceiling.int8OpsPerSecond
  return unit === 'fp8' ? ceiling.fp8OpsPerSecond : ceiling.f16OpsPerSecond
}

/** The least microseconds that the work can take: the longer of moving and computing. */
export const floorMicroseconds = ({ bytes, ops, unit }: Work, ceiling: Ceilings): number =>
  1e6 * Math.max(bytes / ceiling.bytesPerSecond, ops / opsPerSecond(unit, ceiling))
