export * from './async.ts'
export type { WgmmaAtom, WgmmaTypes } from './atoms/index.ts'
export { fragmentOrder, mma as atoms, wgmmaAtom, wgmmaHas } from './atoms/index.ts'
export type { DType } from './dtype.ts'
export { dtypeBytes } from './dtype.ts'
export type { Codes, OperandType, WeightFormat, WeightIndex, WeightParts, ZeroHandling } from './format.ts'
export {
  columnMultiple,
  groupOffset,
  groupOfLoad,
  loadColumns,
  loadGroups,
  loadOffset,
  mmaOfTypes,
  packedShape,
  unitColumns,
  unitGroups,
  unitOrder,
  unitRows,
  unitWords,
} from './format.ts'
export { bf16Bits, bf16Value, f16Bits, f16Value } from './half.ts'
export * from './intrinsics.ts'
export * from './kernel.ts'
export * from './layout/index.ts'
export * from './math.ts'
export * from './scalars.ts'
export * from './space.ts'
export * from './std/index.ts'
export type { Barriers, In, InOut, Out, Shared } from './tensor.ts'
export * from './warpgroups.ts'
