import { fp8 } from './fp8.ts'
import { w4a8 } from './w4a8.ts'
import { w4a8fp8 } from './w4a8-fp8.ts'
import { w4a8g32, w4a8g64, w4a8g128 } from './w4a8-group.ts'
import { w4a16g32, w4a16g64, w4a16g128 } from './w4a16-group.ts'
import { w8a8 } from './w8a8.ts'
import { w16 } from './w16.ts'

/** The weight formats by name: kernels and checkpoints name them so. */
export const weightFormats = {
  w4a8,
  'w4a8-g128': w4a8g128,
  'w4a8-g64': w4a8g64,
  'w4a8-g32': w4a8g32,
  w8a8,
  w16,
  'w4a16-g128': w4a16g128,
  'w4a16-g64': w4a16g64,
  'w4a16-g32': w4a16g32,
  fp8,
  'w4a8-fp8': w4a8fp8,
} as const

export type WeightFormatName = keyof typeof weightFormats

export type {
  Codes,
  OperandType,
  WeightFormat,
  WeightIndex,
  WeightParts,
  ZeroHandling,
} from '../../dsl/format.ts'
export { packedShape } from '../../dsl/format.ts'
export type { KvFormat, KvFormatName } from './kv.ts'
export { kvFormats } from './kv.ts'
