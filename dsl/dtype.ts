/**
 * Element types of tensors, on the host and in kernels.
 *
 * `e4m3` and `e5m2` are 8-bit floats (OCP FP8): storage types, like `i8`, with the names that PTX has for them.
 *
 * Sub-byte codes have no element type of their own: a packed tensor is a tensor of `u32` words (or `u8` bytes)
 * whose layout tag says how the codes lie in it.
 */
export type DType = 'f32' | 'f16' | 'bf16' | 'i32' | 'u32' | 'i8' | 'u8' | 'e4m3' | 'e5m2'

/** Bytes of one element. */
export const dtypeBytes: Readonly<Record<DType, number>> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  i32: 4,
  u32: 4,
  i8: 1,
  u8: 1,
  e4m3: 1,
  e5m2: 1,
}
