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
  const refuse = (problem: string): never => {
    throw new ArgumentError(program.name, param.tensor, problem)
  }
  const extents = shape.map((extent, i) => (typeof extent === 'number' ? extent : dims[words[i]!]!))
  const columns = extents.at(-1)!
  const rows = extents.slice(0, -1).reduce((product, extent) => product * extent, 1)
  const size = dtypeBytes[dtype]
  const rowBytes = columns * size
  if (rowBytes % 16 !== 0)
    refuse(
      `expected rows of a multiple of 16 bytes, as the copy engine reads them, got ${columns} elements of ${dtype}`,
    )
  if (param.slabs > 0 && columns % param.columns !== 0)
    refuse(`expected rows of a multiple of ${param.columns} elements, the columns of a slab, got ${columns}`)
  const { address } = tensor
  const common = { address, dtype, swizzle: param.swizzle }
  if (param.slabs === 0)
    return { ...common, extents: [columns, rows], strides: [rowBytes], box: [param.columns, param.rows] }
  return {
    ...common,
    extents: [param.columns, rows, columns / param.columns],
    strides: [rowBytes, param.columns * size],
    box: [param.columns, param.rows, param.slabs],
  }
}

/** Whether two arguments of a launch are the same to a device. */
export function sameArgument(a: LaunchArgument, b: LaunchArgument): boolean {
  if (typeof a === 'number' || typeof b === 'number') return Object.is(a, b)
  return (
    a.address === b.address &&
    String(a.extents) === String(b.extents) &&
    String(a.strides) === String(b.strides)
  )
}
