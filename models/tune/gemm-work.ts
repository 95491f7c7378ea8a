import { dtypeBytes } from '../../dsl/dtype.ts'
import type { WeightFormatName } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { activationType, gemmOperands } from '../../kernels/gemm/operands.ts'
import type { Work } from '../../runtime/tune/roofline.ts'

/** What a product must move and compute at least. */
export function gemmWork(format: WeightFormatName, shape: GemmShape): Work {
  const operands = Object.values(gemmOperands(format, shape, { dtype: 'f16' }))
  const bytes = operands.reduce(
    (sum, operand) => sum + operand.shape.reduce((a, b) => a * b, dtypeBytes[operand.dtype]),
    0,
  )
  const x = activationType(format, 'f16')
  return {
    bytes,
    ops: 2 * shape.M * shape.N * shape.K,
    unit: x === 'i8' ? 'int8' : x === 'e4m3' ? 'fp8' : 'f16',
  }
}
