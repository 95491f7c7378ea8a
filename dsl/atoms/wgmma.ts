import type { DType } from '../dtype.ts'
import { dtypeBytes } from '../dtype.ts'
import { layout } from '../layout/index.ts'
import type { MmaOperand } from './mma.ts'

/** Operand types of `wgmma.mma_async`, A first. */
export type WgmmaTypes = 's8s8' | 's8u8' | 'u8s8' | 'u8u8' | 'f16' | 'bf16' | 'e4m3' | 'e5m2'

/** `D = A · B + D`, over a warpgroup of four warps: 64×k times k×n. */
export interface WgmmaAtom {
  /** Shape and operand types, as in `m64n256k32.u8s8`. */
  readonly name: string
  readonly m: 64
  readonly n: number
  readonly k: number
  readonly types: WgmmaTypes
  /** A in registers: (thread of the warpgroup, value) → `row + 64 * column`. */
  readonly a: MmaOperand
  /** The type of B's elements. */
  readonly b: DType
  /** (thread of the warpgroup, value) → `row + 64 * column`. */
  readonly c: MmaOperand
}

const elements: Readonly<Record<WgmmaTypes, readonly [a: DType, b: DType, c: 'i32' | 'f32']>> = {
  s8s8: ['i8', 'i8', 'i32'],
  s8u8: ['i8', 'u8', 'i32'],
  u8s8: ['u8', 'i8', 'i32'],
  u8u8: ['u8', 'u8', 'i32'],
  f16: ['f16', 'f16', 'f32'],
  bf16: ['bf16', 'bf16', 'f32'],
  e4m3: ['e4m3', 'e4m3', 'f32'],
  e5m2: ['e5m2', 'e5m2', 'f32'],
}

/** Columns that an integer `wgmma` may have; other types take every multiple of 8 up to 256. ptxas 13.0, each tried. */
const integerColumns: readonly number[] = [
  8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
]

/** Whether `wgmma` has an instruction of `n` columns for these types. */
export function wgmmaHas(n: number, types: WgmmaTypes): boolean {
  if (elements[types][2] === 'i32') return integerColumns.includes(n)
  return Number.isInteger(n / 8) && n >= 8 && n <= 256
}

const made = new Map<string, WgmmaAtom>()

/**
 * The `wgmma` instruction of `n` columns (PTX ISA, "Register Fragments and Shared Memory Matrix Layouts"); sm_90a.
 *
 * Warp w of the warpgroup owns rows 16w to 16w + 15. In each warp A and D are spread over the lanes as in
 * `mma.sync.m16n8k*`.
 *
 * @throws RangeError if there is no such instruction.
 */
export function wgmmaAtom(n: number, types: WgmmaTypes): WgmmaAtom {
  if (!wgmmaHas(n, types)) {
    const legal = elements[types][2] === 'i32' ? integerColumns.join(', ') : 'the multiples of 8 up to 256'
    throw new RangeError(`wgmma with ${types} has no ${n} columns; there are ${legal}`)
  }
  const [a, b, c] = elements[types]
  const k = 32 / dtypeBytes[a]
  const name = `m64n${n}k${k}.${types}`
  const known = made.get(name)
  if (known) return known
  const packed = 4 / dtypeBytes[a]
  const half = 4 * packed
  // (t, g, warp) of a thread; of A's values: within a register, row half, k half.
  const aLayout = layout(
    [
      [4, 8, 4],
      [packed, 2, 2],
    ],
    [
      [64 * packed, 1, 16],
      [64, 8, 64 * half],
    ],
  )
  const cLayout = layout(
    [
      [4, 8, 4],
      [2, 2, n / 8],
    ],
    [
      [128, 1, 16],
      [64, 8, 512],
    ],
  )
  const atom: WgmmaAtom = Object.freeze({
    name,
    m: 64,
    n,
    k,
    types,
    a: { dtype: a, registers: 4, layout: aLayout },
    b,
    c: { dtype: c, registers: n / 2, layout: cLayout },
  })
  made.set(name, atom)
  return atom
}
