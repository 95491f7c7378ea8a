import { f16, packHalves } from '../arithmetic/half-vectors.ts'
import type { FunctionBuilder, FunctionRef, Local } from '../wasm/function.ts'
import type { Global, ModuleBuilder } from '../wasm/module.ts'
import type { I32, V128 } from '../wasm/operations.ts'
import { splitWords, transposeWords } from './operand-vectors.ts'

/**
 * `mma.sync.aligned.m16n8kK.row.col` on register files of 32 lanes.
 *
 * A register is 32 words in lane order, 128 bytes, 16-byte aligned. With groupID = lane / 4 and t = lane % 4 the PTX
 * manual ("Matrix Fragments for mma.m16n8k16 / k32") gives lane (groupID, t) of
 *   A register 0: row groupID, 32-bit word t of the first half of K    register 1: row groupID + 8
 *   A registers 2, 3: the same rows, second half of K
 *   B register 0: column groupID, word t of the first half of K        register 1: second half
 *   C registers 0, 1: row groupID, columns 2t and 2t + 1               registers 2, 3: row groupID + 8
 * where a word holds 4 bytes or 2 halves, the lowest K first. So a register of A or B is already a matrix of eight
 * rows or columns, 16 contiguous bytes each, and the registers of C are the even and the odd columns of eight rows.
 */
export interface MmaForm {
  readonly k: 8 | 16 | 32
  readonly a: MmaElement
  readonly b: MmaElement
  /** Of C and D alike. */
  readonly accumulator: 's32' | 'f32' | 'f16'
}
export type MmaElement = 's8' | 'u8' | 'f16' | 'bf16'

/** Bytes of private memory that `mma` needs behind its `scratch` address, which must be 16-byte aligned. */
export const mmaScratchBytes = 1536

const bytesPerRow = 16
const rowsAtOnce = 4
/** Staged operands in scratch: per step two vectors of B (even and odd columns) and one word of each row of A. */
const bStaged = 0
const bStep = 32
const aStaged = 512
const aStep = 4
const aRowStride = 64

/** Registers of each operand, in PTX operand order. */
export function mmaRegisters(form: MmaForm): { d: number; a: number; b: number; c: number } {
  const halves = halvesOfK(form)
  const accumulators = form.accumulator === 'f16' ? 2 : 4
  return { d: accumulators, a: 2 * halves, b: halves, c: accumulators }
}

function halvesOfK({ k, a }: MmaForm): 1 | 2 {
  const wordsOfK = k / (a === 's8' || a === 'u8' ? 4 : 2)
  return wordsOfK === 8 ? 2 : 1
}

/**
 * A function that takes the addresses of the registers of d, a, b and c, in PTX operand order, all i32; d may be c.
 * All 32 lanes take part.
 *
 * Integer forms are exact modulo 2^32 (no `.satfinite`). Float forms multiply exactly and add in f32 to the accumulator,
 * for each 8 of K the even ones first; the hardware's order and internal width are unspecified. Accumulator f16 rounds
 * once, at the end.
 */
export function mma(m: ModuleBuilder, scratch: Global<'i32'>, form: MmaForm): FunctionRef {
  const { d, a, b, c } = mmaRegisters(form)
  const name = `mma.m16n8k${form.k}.${form.accumulator}.${form.a}.${form.b}`
  const params = Array<'i32'>(d + a + b + c).fill('i32')
  return m.routine(name, params, [], (w) => {
    const args = w.args as readonly Local<'i32'>[]
    writeMma(w, scratch, form, {
      d: args.slice(0, d),
      a: args.slice(d, d + a),
      b: args.slice(d + a, d + a + b),
      c: args.slice(d + a + b),
    })
  })
}

interface Operands {
  readonly d: readonly Local<'i32'>[]
  readonly a: readonly Local<'i32'>[]
  readonly b: readonly Local<'i32'>[]
  readonly c: readonly Local<'i32'>[]
}

/**
 * Both operands are split once into vectors of 16-bit pairs (integers) or f32 (floats): a word gives two of them, `low`
 * from its bytes 0 and 2 (half 0) and `high` from its bytes 1 and 3 (half 1), the same way for A and B, so that
 * products meet their partners. Then every product vector is a broadcast word of A times four columns of B.
 */
function writeMma(
  w: FunctionBuilder,
  scratchGlobal: Global<'i32'>,
  form: MmaForm,
  { d, a, b, c }: Operands,
): void {
  const halves = halvesOfK(form)
  const scratch = w.let(w.getGlobal(scratchGlobal))
  const step = (sum: Local<'v128'>, x: V128, y: V128): void =>
    form.accumulator === 's32'
      ? w.set(sum, w.i32x4.add(w.i32x4.dot_i16x8_s(x, y), w.get(sum)))
      : w.set(sum, w.f32x4.add(w.f32x4.mul(x, y), w.get(sum)))

  // B: even columns (0, 2, 4, 6), then odd, as C wants them; word t of four columns becomes one vector.
  for (let half = 0; half < halves; half++)
    for (const parity of [0, 1]) {
      const columns = [0, 1, 2, 3].map((i) =>
        w.let(w.v128.load(w.get(b[half]!), (2 * i + parity) * bytesPerRow)),
      )
      transposeWords(w, columns).forEach((word, t) => {
        splitWords(w, form.b, word).forEach((part, i) => {
          w.v128.store(w.get(scratch), w.get(part), bStaged + stepOf(half, i, t) * bStep + parity * 16)
          w.release(part)
        })
        w.release(word)
      })
      w.release(...columns)
    }

  // A: the vectors of a row follow each other in the order of the steps.
  for (const upper of [0, 1])
    for (let half = 0; half < halves; half++)
      for (let r = 0; r < 8; r++) {
        const words = w.let(w.v128.load(w.get(a[half * 2 + upper]!), r * bytesPerRow))
        splitWords(w, form.a, words).forEach((part, i) => {
          w.v128.store(
            w.get(scratch),
            w.get(part),
            aStaged + (upper * 8 + r) * aRowStride + stepOf(half, i, 0) * aStep,
          )
          w.release(part)
        })
        w.release(words)
      }

  const row = w.local('i32')
  const aAt = w.let(w.get(scratch))
  const bAt = w.local('i32')
  const bEnd = w.let(w.i32.add(w.get(scratch), w.i32.const(halves * 8 * bStep)))
  const sums = Array.from({ length: rowsAtOnce * 2 }, () => w.local('v128'))
  for (const upper of [0, 1]) {
    const accumulators = accumulatorIO(w, form, upper, row, d, c)
    w.set(row, w.i32.const(0))
    w.loop((again) => {
      for (let r = 0; r < rowsAtOnce; r++) accumulators.load(r, sums[2 * r]!, sums[2 * r + 1]!)
      w.set(bAt, w.get(scratch))
      // Not unrolled: within a basic block V8 moves all loads to the front, and spills what they loaded.
      w.loop((nextStep) => {
        const even = w.let(w.v128.load(w.get(bAt), bStaged))
        const odd = w.let(w.v128.load(w.get(bAt), bStaged + 16))
        for (let r = 0; r < rowsAtOnce; r++) {
          const x = w.let(w.v128.load32_splat(w.get(aAt), aStaged + r * aRowStride))
          step(sums[2 * r]!, w.get(x), w.get(even))
          step(sums[2 * r + 1]!, w.get(x), w.get(odd))
          w.release(x)
        }
        w.release(even, odd)
        w.set(aAt, w.i32.add(w.get(aAt), w.i32.const(aStep)))
        w.brIf(nextStep, w.i32.ne(w.tee(bAt, w.i32.add(w.get(bAt), w.i32.const(bStep))), w.get(bEnd)))
      })
      for (let r = 0; r < rowsAtOnce; r++) accumulators.store(r, sums[2 * r]!, sums[2 * r + 1]!)
      w.set(aAt, w.i32.add(w.get(aAt), w.i32.const(rowsAtOnce * aRowStride - halves * 8 * aStep)))
      w.set(row, w.i32.add(w.get(row), w.i32.const(rowsAtOnce * bytesPerRow)))
      w.brIf(again, w.i32.lt_u(w.get(row), w.i32.const(8 * bytesPerRow)))
    })
  }
}

/** Products are summed in steps: half of K, then low or high part of its words, then the word. */
function stepOf(half: number, part: number, t: number): number {
  return half * 8 + part * 4 + t
}

interface AccumulatorIO {
  load(r: number, even: Local<'v128'>, odd: Local<'v128'>): void
  store(r: number, even: Local<'v128'>, odd: Local<'v128'>): void
}

/** Moves rows of C and D: `row` is the byte offset of the first of the rows at hand, `r` counts from it. */
function accumulatorIO(
  w: FunctionBuilder,
  form: MmaForm,
  upper: number,
  row: Local<'i32'>,
  d: readonly Local<'i32'>[],
  c: readonly Local<'i32'>[],
): AccumulatorIO {
  const at = (register: Local<'i32'>): I32 => w.i32.add(w.get(register), w.get(row))
  if (form.accumulator === 'f16') {
    return {
      load(r, even, odd) {
        const words = w.let(w.v128.load(at(c[upper]!), r * bytesPerRow))
        const [low, high] = splitWords(w, 'f16', words)
        w.set(even, w.get(low!))
        w.set(odd, w.get(high!))
        w.release(words, low!, high!)
      },
      store(r, even, odd) {
        w.v128.store(at(d[upper]!), packHalves(w, f16, even, odd), r * bytesPerRow)
      },
    }
  }
  return {
    load(r, even, odd) {
      w.set(even, w.v128.load(at(c[upper * 2]!), r * bytesPerRow))
      w.set(odd, w.v128.load(at(c[upper * 2 + 1]!), r * bytesPerRow))
    },
    store(r, even, odd) {
      w.v128.store(at(d[upper * 2]!), w.get(even), r * bytesPerRow)
      w.v128.store(at(d[upper * 2 + 1]!), w.get(odd), r * bytesPerRow)
    },
  }
}
