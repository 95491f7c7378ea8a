import type { RegisterType } from '../ptx/module.ts'
import type { ValueType } from '../wasm/operations.ts'

/** What an instruction type such as `s16` or `f16x2` means. */
export interface ScalarType {
  readonly bits: 1 | 8 | 16 | 32 | 64
  readonly kind: 'bits' | 'unsigned' | 'signed' | 'float'
}

const scalar = (bits: ScalarType['bits'], kind: ScalarType['kind']): ScalarType => ({ bits, kind })

export const scalarTypes: Readonly<Record<string, ScalarType>> = {
  pred: scalar(1, 'bits'),
  b8: scalar(8, 'bits'),
  b16: scalar(16, 'bits'),
  b32: scalar(32, 'bits'),
  b64: scalar(64, 'bits'),
  u8: scalar(8, 'unsigned'),
  u16: scalar(16, 'unsigned'),
  u32: scalar(32, 'unsigned'),
  u64: scalar(64, 'unsigned'),
  s8: scalar(8, 'signed'),
  s16: scalar(16, 'signed'),
  s32: scalar(32, 'signed'),
  s64: scalar(64, 'signed'),
  f16: scalar(16, 'float'),
  bf16: scalar(16, 'float'),
  f32: scalar(32, 'float'),
  f64: scalar(64, 'float'),
}

/**
 * The WebAssembly type that holds a register. Predicates are 0 or 1, 16-bit registers are zero-extended: each register
 * has one representation whatever the type of the instruction that reads it.
 */
export const registerValueType: Readonly<Record<RegisterType, 'i32' | 'i64' | 'f32' | 'f64'>> = {
  pred: 'i32',
  b16: 'i32',
  b32: 'i32',
  b64: 'i64',
  f32: 'f32',
  f64: 'f64',
}

export const registerBits: Readonly<Record<RegisterType, number>> = {
  pred: 1,
  b16: 16,
  b32: 32,
  b64: 64,
  f32: 32,
  f64: 64,
}

/** Bytes of one lane's copy in a register file. */
export function laneBytes(type: RegisterType): 4 | 8 {
  return registerBits[type] === 64 ? 8 : 4
}

export type Plain = Exclude<ValueType, 'v128'>
