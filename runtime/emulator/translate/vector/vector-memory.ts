import type { AddressOperand, Operand, Register } from '../../ptx/module.ts'
import type { Local } from '../../wasm/function.ts'
import type { I32, V128 } from '../../wasm/operations.ts'
import { elementsOf } from '../emit/memory.ts'
import { scalarTypes } from '../types.ts'
import { groupLanes, type VectorEmitter } from './vector-emitter.ts'

/** A way to push each lane's address, and the constant that the memory instruction adds. */
interface Addresses {
  lane(index: number): I32
  readonly offset: number
  release(): void
}

function addresses(v: VectorEmitter, { base, offset }: AddressOperand): Addresses {
  const { w } = v
  if (base.kind === 'integer' || v.isUniform(base)) {
    const own = v.scalar()
    const scalar =
      base.kind === 'register' && base.register.type === 'b64' ? w.i32.wrap_i64(own.i64(base)) : own.i32(base)
    const local = w.let(w.i32.add(scalar, w.i32.const(offset)))
    return { lane: () => w.get(local), offset: 0, release: () => w.release(local) }
  }
  const vector = w.let(offset < 0 ? w.i32x4.add(v.bits(base), v.splat(offset)) : v.bits(base))
  return {
    lane: (index) => w.i32x4.extract_lane(w.get(vector), index),
    offset: Math.max(offset, 0),
    release: () => w.release(vector),
  }
}

/** ld of global and shared memory. Tells whether it has a form for it. */
export function loadVector(v: VectorEmitter, [d, a]: readonly (Operand | undefined)[]): boolean {
  const { w, instruction } = v
  const { space, type } = instruction.modifiers
  const { bits, kind } = scalarTypes[type!]!
  const elements = elementsOf(d!)
  if (space === 'param' || bits === 64 || a?.kind !== 'address') return false
  if (elements.length > 1) {
    if (bits !== 32) return false
    loadRows(v, elements, a)
    return true
  }
  const [element] = elements
  if (element?.kind !== 'register') return false
  const from = addresses(v, a)
  const target = v.registers.vectorLocal(element.register)
  const signed = kind === 'signed'
  v.forEachLane((index) => {
    if (bits === 32) {
      const address = from.lane(index)
      w.set(target, w.v128.load32_lane(address, w.get(target), index, from.offset))
      return
    }
    const before = w.get(target)
    const address = from.lane(index)
    const { offset } = from
    let value: I32
    if (bits === 8) value = signed ? w.i32.load8_s(address, offset) : w.i32.load8_u(address, offset)
    else value = signed ? w.i32.load16_s(address, offset) : w.i32.load16_u(address, offset)
    if (signed && isNarrow(element.register)) value = w.i32.and(value, w.i32.const(0xffff))
    w.set(target, w.i32x4.replace_lane(before, value, index))
  })
  from.release()
  return true
}

/** 16-bit registers are zero-extended, whatever the sign of what is loaded. */
const isNarrow = (register: Register): boolean => register.type === 'b16'

/** Two or four words a lane: one load for each lane, then a transpose. */
function loadRows(v: VectorEmitter, elements: readonly Operand[], a: AddressOperand): void {
  const { w, mask } = v
  const from = addresses(v, a)
  const rows = Array.from({ length: groupLanes }, () => w.local('v128'))
  if (mask) for (const row of rows) w.set(row, v.splat(0))
  v.forEachLane((index) => {
    const address = from.lane(index)
    const wide = elements.length === 4
    w.set(rows[index]!, wide ? w.v128.load(address, from.offset) : w.v128.load64_zero(address, from.offset))
  })
  from.release()
  transpose(v, rows, elements.length).forEach((column, i) => {
    v.set(elements[i]!, w.get(column))
    w.release(column)
  })
  w.release(...rows)
}

const low = [0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]
const high = low.map((byte) => byte + 8)
const lowHalves = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]
const highHalves = lowHalves.map((byte) => byte + 8)

/** The first `count` columns of four rows of four words. */
function transpose(v: VectorEmitter, rows: readonly Local<'v128'>[], count: number): Local<'v128'>[] {
  const { w } = v
  const shuffle = (x: Local<'v128'>, y: Local<'v128'>, lanes: readonly number[]): Local<'v128'> =>
    w.let(w.i8x16.shuffle(w.get(x), w.get(y), lanes))
  const [a, b, c, d] = rows as [Local<'v128'>, Local<'v128'>, Local<'v128'>, Local<'v128'>]
  const columns: Local<'v128'>[] = []
  for (const half of count > 2 ? [low, high] : [low]) {
    const ab = shuffle(a, b, half)
    const cd = shuffle(c, d, half)
    columns.push(shuffle(ab, cd, lowHalves), shuffle(ab, cd, highHalves))
    w.release(ab, cd)
  }
  return columns
}

/** st to global and shared memory. Tells whether it has a form for it. */
export function storeVector(v: VectorEmitter, [a, b]: readonly (Operand | undefined)[]): boolean {
  const { w, instruction } = v
  const { bits } = scalarTypes[instruction.modifiers.type!]!
  const elements = elementsOf(b!)
  if (bits === 64 || a?.kind !== 'address' || elements.some((element) => isWide(element))) return false
  if (elements.length > 1 && bits !== 32) return false
  const to = addresses(v, a)
  if (elements.length > 1) {
    const columns = Array.from({ length: groupLanes }, (_, i) =>
      w.let(i < elements.length ? v.bits(elements[i]!) : v.splat(0)),
    )
    const rows = transpose(v, columns, 4)
    v.forEachLane((index) => {
      const address = to.lane(index)
      if (elements.length === 4) w.v128.store(address, w.get(rows[index]!), to.offset)
      else w.v128.store64_lane(address, w.get(rows[index]!), 0, to.offset)
    })
    w.release(...columns, ...rows)
  } else {
    const value = w.let(v.bits(elements[0]!))
    v.forEachLane((index) => {
      const address = to.lane(index)
      const from: V128 = w.get(value)
      if (bits === 32) w.v128.store32_lane(address, from, index, to.offset)
      else if (bits === 16) w.v128.store16_lane(address, from, 2 * index, to.offset)
      else w.v128.store8_lane(address, from, 4 * index, to.offset)
    })
    w.release(value)
  }
  to.release()
  return true
}

const isWide = (operand: Operand): boolean =>
  operand.kind === 'register' && (operand.register.type === 'b64' || operand.register.type === 'f64')

/** cp.async of 16 whole bytes. */
export function copyVector(v: VectorEmitter, operands: readonly (Operand | undefined)[]): boolean {
  const { w } = v
  const { modifiers } = v.instruction
  if (modifiers.bulk && !modifiers.commit_group && !modifiers.wait_group) return false
  // Without checks copies happen at once, so groups and waits are nothing.
  if (modifiers.commit_group || modifiers.wait_group || modifiers.wait_all) return true
  const [to, from, size, given] = operands
  const isWhole = given === undefined || (given.kind === 'integer' && given.value === 16n)
  if (to?.kind !== 'address' || from?.kind !== 'address') return false
  if (size?.kind !== 'integer' || size.value !== 16n || !isWhole) return false
  const target = addresses(v, to)
  const source = addresses(v, from)
  v.forEachLane((index) => {
    const address = target.lane(index)
    w.v128.store(address, w.v128.load(source.lane(index), source.offset), target.offset)
  })
  target.release()
  source.release()
  return true
}
