import type { DType } from '../../dsl/dtype.ts'

/** Element types as matrix instructions name them. */
export const elementNames: Readonly<Record<DType, string>> = {
  i8: 's8',
  u8: 'u8',
  i32: 's32',
  u32: 'u32',
  f32: 'f32',
  f16: 'f16',
  bf16: 'bf16',
  e4m3: 'e4m3',
  e5m2: 'e5m2',
}
