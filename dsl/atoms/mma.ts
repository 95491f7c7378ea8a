import type { DType } from '../dtype.ts'
import { dtypeBytes } from '../dtype.ts'
import type { Layout } from '../layout/index.ts'
import { layout } from '../layout/index.ts'

/** One matrix of an MMA instruction, spread over the lanes of a warp. */
export interface MmaOperand {
  readonly dtype: DType
  /** 32-bit registers of a lane. */
  readonly registers: number
  /**
   * (lane, value) → element. A lane's values count through its registers, lowest bits first. The element is
   * `row + rows * column` of a tile with these rows and columns: A in (m, k), B in (n, k), C and D in (m, n).
   */
  readonly layout: Layout
}

/** `D = A · B + C`, warp-wide: m×k times k×n, C and D alike. */
export interface MmaAtom {
  /** Shape and operand types, as in `m16n8k32.u8s8`. */
  readonly name: string
  readonly m: number
  readonly n: number
  readonly k: number
  readonly a: MmaOperand
  readonly b: MmaOperand
  readonly c: MmaOperand
}

function operand(dtype: DType, fragment: Layout): MmaOperand {
  return { dtype, registers: (fragment.size / 32) * (dtypeBytes[dtype] / 4), layout: fragment }
}

/** (lane, value) → element, from the strides of t = lane % 4 and g = lane / 4 and the modes of a lane's values. */
const fragment = (lane: [t: number, g: number], values: number[], steps: number[]): Layout =>
  layout([[4, 8], values], [lane, steps])

/**
 * The fragments of `mma.sync.m16n8k*` (PTX ISA, "Matrix Fragments for mma.m16n8k16 / m16n8k32"). A
 * register holds 32 bits of consecutive k: of A, rows g and g + 8, then the same half of k further;
 * of B, column g; of C, two columns of row g, then of row g + 8.
 */
function m16n8(k: number, a: DType, b: DType, c: DType, types: string): MmaAtom {
  const packed = 4 / dtypeBytes[a]
  const half = 4 * packed
  return Object.freeze({
    name: `m16n8k${k}.${types}`,
    m: 16,
    n: 8,
    k,
    a: operand(a, fragment([16 * packed, 1], [packed, 2, 2], [16, 8, 16 * half])),
    b: operand(b, fragment([8 * packed, 1], [packed, 2], [8, 8 * half])),
    c: operand(c, fragment([32, 1], [2, 2], [16, 8])),
  })
}

/** The warp-wide MMA instructions, by shape and operand types. */
export const mma = Object.freeze({
  /** Integer products, exact in 32 bits; sm_80 and later. */
  m16n8k32: Object.freeze({
    s8s8: m16n8(32, 'i8', 'i8', 'i32', 's8s8'),
    u8s8: m16n8(32, 'u8', 'i8', 'i32', 'u8s8'),
    s8u8: m16n8(32, 'i8', 'u8', 'i32', 's8u8'),
    u8u8: m16n8(32, 'u8', 'u8', 'i32', 'u8u8'),
  }),
  /** Half-precision products, summed in f32; sm_80 and later. */
  m16n8k16: Object.freeze({
    f16: m16n8(16, 'f16', 'f16', 'f32', 'f16'),
    bf16: m16n8(16, 'bf16', 'bf16', 'f32', 'bf16'),
  }),
})
