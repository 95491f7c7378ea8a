import { w4a8 } from './w4a8.ts'
import { w4a8g128 } from './w4a8-g128.ts'
import { w8a8 } from './w8a8.ts'
import { w16 } from './w16.ts'
import type { WeightFormat } from './weight.ts'

export type WeightFormatName = 'w4a8' | 'w4a8-g128' | 'w8a8' | 'w16'

/** The weight formats by name: kernels and checkpoints name them so. */
export const weightFormats: Readonly<Record<WeightFormatName, WeightFormat>> = {
  w4a8,
  'w4a8-g128': w4a8g128,
  w8a8,
  w16,
}

export type { KvFormat, KvFormatName } from './kv.ts'
export { kvFormats } from './kv.ts'
export type { Codes, RowParameters, WeightFormat, WeightTag, ZeroHandling } from './weight.ts'
export { packedShape } from './weight.ts'
