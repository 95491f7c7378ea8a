import type { FunctionBuilder, FunctionRef, Local } from '../wasm/function.ts'
import type { Global, ModuleBuilder } from '../wasm/module.ts'
import type { I32, V128 } from '../wasm/operations.ts'
import { type MatrixElement, partsOf, splitWords, transposeWords } from './operand-vectors.ts'

/**
 * `wgmma.mma_async.sync.aligned.m64nNkK`, the part of one warp: 16 rows of A and of D, all of B.
 *
 * PTX manual, "Asynchronous warpgroup level matrix": K is 32 bytes. Warp w of the warpgroup has rows 16w to 16w + 15, and
 * in each group of eight columns its fragments are those of `mma.sync.m16n8` (see `mma.ts`): registers 4o to 4o + 3 of D
 * are the even and odd columns of the rows 0 to 7, then 8 to 15, of columns 8o to 8o + 7. A in registers is four of them:
 * rows 0 to 7 and 8 to 15 of the first 16 bytes of K, then of the second.
 */
export interface WgmmaForm {
  readonly a: MatrixElement
  readonly b: MatrixElement
  readonly accumulator: 's32' | 'f32'
}

/** Bytes of private memory that the routines need behind `scratch`, which must be 16-byte aligned. */
export const wgmmaScratchBytes = 1024 + 2048

/** D's registers of eight columns, `[register][lane]`. */
const blockBytes = 4 * 128
const bytesPerRow = 16
const rowsAtOnce = 4
/** In scratch: eight columns of B, per step two vectors (even and odd columns); then one word a step of each row of A. */
const bStaged = 0
const bStep = 32
const aStaged = 1024
const aStep = 4

const stepsOf = (form: WgmmaForm): number => 8 * partsOf(form.a)
const aRowStride = (form: WgmmaForm): number => aStep * stepsOf(form)
/** Products are summed in steps: half of K, then the place in a word, then the word. */
const stepOf = (form: WgmmaForm, half: number, part: number): number => (half * partsOf(form.a) + part) * 4
const typeName = ({ a, b, accumulator }: WgmmaForm): string => `${accumulator}.${a}.${b}`

/** Takes the addresses of A's four registers and splits A into `scratch`. */
export function stageRegisters(m: ModuleBuilder, scratch: Global<'i32'>, form: WgmmaForm): FunctionRef {
  const params = ['i32', 'i32', 'i32', 'i32'] as const
  return m.routine(`wgmma.registers.${form.a}`, params, [], (w) => {
    const target = w.let(w.getGlobal(scratch))
    for (const half of [0, 1])
      for (const upper of [0, 1])
        for (let r = 0; r < 8; r++) {
          const words = w.let(w.v128.load(w.get(w.args[half * 2 + upper]!), r * bytesPerRow))
          stageRow(w, form, target, half, upper * 8 + r, words)
        }
  }) as FunctionRef
}

/** Takes A's descriptor, the warp's number and the address of shared memory, and splits the warp's rows into `scratch`. */
export function stageRows(m: ModuleBuilder, scratch: Global<'i32'>, form: WgmmaForm): FunctionRef {
  return m.routine(`wgmma.rows.${form.a}`, ['i64', 'i32', 'i32'], [], (w) => {
    const [descriptor, warp, shared] = w.args
    const target = w.let(w.getGlobal(scratch))
    const matrix = openMatrix(w, descriptor, shared)
    const groups = w.i32.shl(w.i32.and(w.get(warp), w.i32.const(3)), w.i32.const(1))
    const offset = w.i32.mul(groups, w.get(matrix.stride))
    w.set(matrix.group, w.i32.add(offset, w.get(matrix.group)))
    for (const upper of [0, 1]) {
      const rows = rowAddresses(w, matrix)
      for (const half of [0, 1])
        for (let r = 0; r < 8; r++) {
          const words = w.let(w.v128.load(rows(r, half)))
          stageRow(w, form, target, half, upper * 8 + r, words)
        }
      w.set(matrix.group, w.i32.add(w.get(matrix.group), w.get(matrix.stride)))
    }
  }) as FunctionRef
}

function stageRow(
  w: FunctionBuilder,
  form: WgmmaForm,
  target: Local<'i32'>,
  half: number,
  row: number,
  words: Local<'v128'>,
): void {
  splitWords(w, form.a, words).forEach((vector, part) => {
    const offset = aStaged + row * aRowStride(form) + stepOf(form, half, part) * aStep
    w.v128.store(w.get(target), w.get(vector), offset)
    w.release(vector)
  })
  w.release(words)
}

/**
 * Takes the address of D's registers, which lie side by side, B's descriptor, the address of shared memory, how many
 * groups of eight columns there are, and whether to add to D. A must be staged.
 *
 * Integers are exact modulo 2^32. Floats multiply exactly and add in f32, in an order that does not depend on the number
 * of columns; hardware keeps fewer bits of each sum (of fp8 products about 14), in an unspecified order.
 */
export function multiply(m: ModuleBuilder, scratch: Global<'i32'>, form: WgmmaForm): FunctionRef {
  const params = ['i32', 'i64', 'i32', 'i32', 'i32'] as const
  return m.routine(`wgmma.${typeName(form)}`, params, [], (w) => {
    const [d, descriptor, shared, blocks, accumulates] = w.args
    const bytes = w.let(w.i32.mul(w.get(blocks), w.i32.const(blockBytes)))
    w.if(w.i32.eqz(w.get(accumulates)), () => w.memoryFill(w.get(d), w.i32.const(0), w.get(bytes)))
    const matrix = openMatrix(w, descriptor, shared)
    const end = w.let(w.i32.add(w.get(d), w.get(bytes)))
    const staged = w.let(w.getGlobal(scratch))
    w.loop((again) => {
      stageColumns(w, form, matrix, staged)
      w.set(matrix.group, w.i32.add(w.get(matrix.group), w.get(matrix.stride)))
      multiplyBlock(w, form, staged, d)
      w.brIf(again, w.i32.ne(w.tee(d, w.i32.add(w.get(d), w.i32.const(blockBytes))), w.get(end)))
    })
  }) as FunctionRef
}

/** Even columns (0, 2, 4, 6), then odd, as D wants them; word t of four columns becomes one vector. */
function stageColumns(w: FunctionBuilder, form: WgmmaForm, matrix: Matrix, staged: Local<'i32'>): void {
  const column = rowAddresses(w, matrix)
  for (const half of [0, 1])
    for (const parity of [0, 1]) {
      const columns = [0, 1, 2, 3].map((i) => w.let(w.v128.load(column(2 * i + parity, half))))
      transposeWords(w, columns).forEach((word, t) => {
        splitWords(w, form.b, word).forEach((vector, part) => {
          const step = stepOf(form, half, part) + t
          w.v128.store(w.get(staged), w.get(vector), bStaged + step * bStep + parity * 16)
          w.release(vector)
        })
        w.release(word)
      })
      w.release(...columns)
    }
}

/** Sixteen rows of A times the staged columns, added to D at `d`. */
function multiplyBlock(w: FunctionBuilder, form: WgmmaForm, staged: Local<'i32'>, d: Local<'i32'>): void {
  const step = (sum: Local<'v128'>, x: V128, y: V128): void =>
    form.accumulator === 's32'
      ? w.set(sum, w.i32x4.add(w.i32x4.dot_i16x8_s(x, y), w.get(sum)))
      : w.set(sum, w.f32x4.add(w.f32x4.mul(x, y), w.get(sum)))
  const rowBytes = aRowStride(form)
  const bBytes = stepsOf(form) * bStep
  const aAt = w.let(w.get(staged))
  const bAt = w.local('i32')
  const bEnd = w.let(w.i32.add(w.get(staged), w.i32.const(bBytes)))
  const rows = w.let(w.get(d))
  const sums = Array.from({ length: rowsAtOnce * 2 }, () => w.local('v128'))
  const upper = 2 * 128
  for (const register of [0, upper]) {
    const end = w.let(w.i32.add(w.get(d), w.i32.const(8 * bytesPerRow)))
    w.set(rows, w.get(d))
    w.loop((again) => {
      sums.forEach((sum, i) => {
        w.set(sum, w.v128.load(w.get(rows), register + (i & 1) * 128 + (i >> 1) * bytesPerRow))
      })
      w.set(bAt, w.get(staged))
      // Not unrolled: within a basic block V8 moves all loads to the front, and spills what they loaded.
      w.loop((nextStep) => {
        const even = w.let(w.v128.load(w.get(bAt), bStaged))
        const odd = w.let(w.v128.load(w.get(bAt), bStaged + 16))
        for (let r = 0; r < rowsAtOnce; r++) {
          const x = w.let(w.v128.load32_splat(w.get(aAt), aStaged + r * rowBytes))
          step(sums[2 * r]!, w.get(x), w.get(even))
          step(sums[2 * r + 1]!, w.get(x), w.get(odd))
          w.release(x)
        }
        w.release(even, odd)
        w.set(aAt, w.i32.add(w.get(aAt), w.i32.const(aStep)))
        w.brIf(nextStep, w.i32.ne(w.tee(bAt, w.i32.add(w.get(bAt), w.i32.const(bStep))), w.get(bEnd)))
      })
      sums.forEach((sum, i) => {
        w.v128.store(w.get(rows), w.get(sum), register + (i & 1) * 128 + (i >> 1) * bytesPerRow)
      })
      w.set(aAt, w.i32.add(w.get(aAt), w.i32.const((rowsAtOnce - 1) * rowBytes)))
      w.set(rows, w.i32.add(w.get(rows), w.i32.const(rowsAtOnce * bytesPerRow)))
      w.brIf(again, w.i32.lt_u(w.get(rows), w.get(end)))
    })
    w.release(end)
  }
  w.release(aAt, bAt, bEnd, rows, ...sums)
}

/** A matrix in shared memory, its rows along K. */
interface Matrix {
  /** Address of the first element of the eight rows at hand. */
  readonly group: Local<'i32'>
  /** From eight rows to the next. */
  readonly stride: Local<'i32'>
  /** From one row to the next. */
  readonly pitch: Local<'i32'>
  /** From a row's first 16 bytes to its second, where they are not swizzled. */
  readonly leading: Local<'i32'>
  /** The address bits that are changed by those three places further up; none without a swizzle. */
  readonly mask: Local<'i32'>
}

/**
 * Takes a descriptor apart: the low 18 bits of the address in units of 16 bytes from bit 0, the leading and the stride
 * offset in the same units from bits 16 and 32, the swizzle in bits 62 and 63 (none, 128, 64, 32 bytes).
 */
function openMatrix(w: FunctionBuilder, descriptor: Local<'i64'>, shared: Local<'i32'>): Matrix {
  const { i32, i64 } = w
  const field = (shift: number): I32 => {
    const low = i32.wrap_i64(i64.shr_u(w.get(descriptor), i64.const(shift)))
    return i32.shl(i32.and(low, i32.const(0x3fff)), i32.const(4))
  }
  const pitch = w.let(pitchOf(w, descriptor))
  return {
    group: w.let(i32.add(w.get(shared), windowOffset(w, descriptor, shared))),
    stride: w.let(field(32)),
    leading: w.let(field(16)),
    pitch,
    mask: w.let(i32.and(i32.sub(w.get(pitch), i32.const(1)), i32.const(0x70))),
  }
}

/** Bytes from the start of the shared window to a descriptor's address: that has only the low bits of the sum. */
function windowOffset(w: FunctionBuilder, descriptor: Local<'i64'>, shared: Local<'i32'>): I32 {
  const { i32 } = w
  const low = i32.shl(i32.wrap_i64(w.get(descriptor)), i32.const(4))
  return i32.and(i32.sub(low, w.get(shared)), i32.const(0x3ffff))
}

/** A row's bytes: 16 without a swizzle, otherwise those that it swizzles. */
function pitchOf(w: FunctionBuilder, descriptor: Local<'i64'>): I32 {
  const { i32, i64 } = w
  const mode = (): I32 => i32.wrap_i64(i64.shr_u(w.get(descriptor), i64.const(62)))
  return w.select(i32.shr_u(i32.const(256), mode()), i32.const(16), mode())
}

/** Computes the eight rows' addresses; what it gives pushes that of one half of a row. */
function rowAddresses(w: FunctionBuilder, matrix: Matrix): (row: number, half: number) => I32 {
  const { i32 } = w
  const { group, pitch, mask, leading } = matrix
  const at = w.let(w.get(group))
  const first = Array.from({ length: 8 }, (_, r) => {
    if (r > 0) w.set(at, i32.add(w.get(at), w.get(pitch)))
    const swizzle = i32.and(i32.shr_u(w.get(at), i32.const(3)), w.get(mask))
    return w.let(i32.xor(swizzle, w.get(at)))
  })
  w.release(at)
  return (row, half) => {
    const address = first[row]!
    if (half === 0) return w.get(address)
    const swizzled = i32.xor(w.get(address), i32.const(16))
    const result = w.select(swizzled, i32.add(w.get(address), w.get(leading)), w.get(mask))
    w.release(address)
    return result
  }
}

/**
 * A test of a descriptor and the address of shared memory: whether its swizzled rows begin where the pattern does (or
 * further along K, by multiples of 32 bytes that stay in the row), which a base offset of zero asks for.
 */
export function isWellPlaced(m: ModuleBuilder): FunctionRef<readonly ['i64', 'i32'], readonly ['i32']> {
  return m.routine('wgmma.placed', ['i64', 'i32'], ['i32'], (w) => {
    const [descriptor, shared] = w.args
    const { i32, i64 } = w
    const pitch = w.let(pitchOf(w, descriptor))
    // The window begins at a multiple of every pattern.
    const start = w.let(windowOffset(w, descriptor, shared))
    const inPattern = i32.and(w.get(start), i32.sub(i32.shl(w.get(pitch), i32.const(3)), i32.const(1)))
    const isFirstRow = i32.lt_u(inPattern, w.get(pitch))
    const isStep = i32.eqz(i32.and(w.get(start), i32.const(31)))
    const noOffset = i64.eqz(i64.and(w.get(descriptor), i64.const(7n << 49n)))
    const swizzled = i32.and(i32.and(isFirstRow, isStep), noOffset)
    i32.or(swizzled, i32.eq(w.get(pitch), i32.const(16)))
  })
}
