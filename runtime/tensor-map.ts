import type { Program, TensorMapParam, TensorParam } from '../codegen/program.ts'
import { dtypeBytes } from '../dsl/dtype.ts'
import { ArgumentError, type BoundDims } from './arguments.ts'
import type { LaunchArgument, TensorMap } from './device.ts'
import type { Tensor } from './tensor.ts'

/**
 * How the copy engine is to see a tensor argument of a launch, from the extents that the launch has: behind a `resize`,
 * rows past it read as zeros and are not written.
 *
 * @throws ArgumentError if the rows of the tensor are not multiples of 16 bytes, or of the slabs of a tile.
 */
export function tensorMapFor(
  program: Program,
  param: TensorMapParam,
  tensor: Tensor,
  dims: BoundDims,
): TensorMap {
  const { shape, words, dtype } = program.params.find(
    (other): other is TensorParam => other.kind === 'tensor' && other.name === param.tensor,
  )!
  const extent = (i: number): number => (typeof shape[i] === 'number' ? shape[i] : dims[words[i]!]!)
  const columns = extent(shape.length - 1)
  let rows = 1
  for (let i = 0; i < shape.length - 1; i++) rows *= extent(i)
  const size = dtypeBytes[dtype]
  const rowBytes = columns * size
  if (rowBytes % 16 !== 0)
    throw new ArgumentError(
      program.name,
      param.tensor,
      `expected rows of a multiple of 16 bytes, as the copy engine reads them, got ${columns} elements of ${dtype}`,
    )
  const { address } = tensor
  const { swizzle } = param
  if (param.slabs === 0) {
    const box = [param.columns, param.rows]
    return { address, dtype, swizzle, extents: [columns, rows], strides: [rowBytes], box }
  }
  if (columns % param.columns !== 0)
    throw new ArgumentError(
      program.name,
      param.tensor,
      `expected rows of a multiple of ${param.columns} elements, the columns of a slab, got ${columns}`,
    )
  const extents = [param.columns, rows, columns / param.columns]
  const box = [param.columns, param.rows, param.slabs]
  return { address, dtype, swizzle, extents, strides: [rowBytes, param.columns * size], box }
}

/** Whether two arguments of a launch are the same to a device. */
export function sameArgument(a: LaunchArgument, b: LaunchArgument): boolean {
  if (typeof a === 'number' || typeof b === 'number') return Object.is(a, b)
  return a.address === b.address && same(a.extents, b.extents) && same(a.strides, b.strides)
}

const same = (a: readonly number[], b: readonly number[]): boolean => a.every((value, i) => value === b[i])
