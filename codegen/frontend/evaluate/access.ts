import type { DType } from '../../../dsl/dtype.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Attributes, Operand, ValueType } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import { bitcast, coerce } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import type { Address, Index, Memory } from './memory.ts'
import type { CallSite, Value } from './values.ts'
import { DeviceValue, elementType, isByte } from './values.ts'

/** Loads and stores: single elements, and runs of elements in vector instructions. */

const attributesOf = (memory: Memory, offset: number, cache: string): Attributes => ({
  space: memory.space,
  offset,
  cache,
})

export function loadScalar(
  ev: Evaluator,
  memory: Memory,
  index: readonly Index[],
  site: CallSite,
): DeviceValue {
  memory.check(ev, 'read', site)
  const { register, offset } = memory.address(ev, index, site)
  memory.accessed(dtypeBytes[memory.dtype])
  return loadOne(ev, memory, register, offset, '')
}

function loadOne(
  ev: Evaluator,
  memory: Memory,
  address: Operand,
  offset: number,
  cache: string,
): DeviceValue {
  const { dtype } = memory
  const value = ev.emitter.value('load', elementType(dtype), [address], attributesOf(memory, offset, cache))
  return isByte(dtype) ? extended(ev, value, dtype) : new DeviceValue(dtype, value)
}

/** A byte in a register of its own, extended to 32 bits. */
const extended = (ev: Evaluator, value: Operand, type: DType): DeviceValue =>
  new DeviceValue(type, ev.emitter.value('convert', 'i32', [value], { rounding: '', saturate: false }))

export function storeScalar(
  ev: Evaluator,
  memory: Memory,
  index: readonly Index[],
  value: Value,
  site: CallSite,
): void {
  memory.check(ev, 'write', site)
  const stored = coerce(ev, value, memory.dtype, site.kind === 'call' && site.args[0] ? site.args[0] : site)
  const { register, offset } = memory.address(ev, index, site)
  memory.accessed(dtypeBytes[memory.dtype])
  storeOne(ev, memory, register, offset, stored, '')
}

function storeOne(
  ev: Evaluator,
  memory: Memory,
  address: Operand,
  offset: number,
  value: DeviceValue,
  cache: string,
): void {
  const { dtype } = memory
  const operand = isByte(dtype)
    ? ev.emitter.value('convert', elementType(dtype), [value.operand], { rounding: '', saturate: false })
    : value.operand
  ev.emitter.emit('store', [], [address, operand], attributesOf(memory, offset, cache))
}

/** Bytes of one access when `bytes` lie side by side from an address: a power of two, 16 at most. */
export function vectorBytes(memory: Memory, address: Address, bytes: number): number {
  const run = Math.min(16, memory.neighbours.aligned * dtypeBytes[memory.dtype])
  let width = Math.min(16, address.align, run)
  while (width > 1 && (bytes % width !== 0 || address.offset % width !== 0)) width /= 2
  return width
}

/** `n` elements from an address on. */
export function loadRun(
  ev: Evaluator,
  memory: Memory,
  address: Address,
  n: number,
  cache: string,
): DeviceValue[] {
  const size = dtypeBytes[memory.dtype]
  const width = vectorBytes(memory, address, n * size)
  memory.accessed(Math.max(width, size))
  if (width < 4 || (size === 4 && width === 4)) {
    return Array.from({ length: n }, (_, i) =>
      loadOne(ev, memory, address.register, address.offset + i * size, cache),
    )
  }
  const values: DeviceValue[] = []
  for (let at = 0; at < n * size; at += width) {
    values.push(...loadVector(ev, memory, address, at, width, cache))
  }
  return values
}

function loadVector(
  ev: Evaluator,
  memory: Memory,
  address: Address,
  at: number,
  width: number,
  cache: string,
): DeviceValue[] {
  const { dtype } = memory
  const type = wordType(memory)
  const words = Array.from({ length: width / 4 }, () => ev.emitter.register(type))
  ev.emitter.emit('load', words, [address.register], attributesOf(memory, address.offset + at, cache))
  switch (dtype) {
    case 'f16':
    case 'bf16':
      return words.flatMap((word) => {
        const halves = [ev.emitter.register(dtype), ev.emitter.register(dtype)]
        ev.emitter.emit('unpack2', halves, [word])
        return halves.map((half) => new DeviceValue(dtype, half))
      })
    case 'i8':
    case 'u8':
    case 'e4m3':
    case 'e5m2':
      return words.flatMap((word) => [0, 1, 2, 3].map((i) => byteOf(ev, word, i, dtype)))
    default:
      return words.map((word) => new DeviceValue(dtype, word))
  }
}

/** The type of a 32-bit word of a vector access. */
function wordType(memory: Memory): ValueType {
  switch (memory.dtype) {
    case 'f16':
      return 'f16x2'
    case 'bf16':
      return 'bf16x2'
    case 'i8':
    case 'u8':
    case 'e4m3':
    case 'e5m2':
      return 'u32'
    default:
      return memory.dtype
  }
}

/** Byte `i` of a word, sign- or zero-extended by one `prmt`. */
function byteOf(ev: Evaluator, word: Operand, i: number, type: DType): DeviceValue {
  const sign = 8 | i
  const selector = type !== 'i8' ? 0x4440 | i : i | (sign << 4) | (sign << 8) | (sign << 12)
  const zero = immediate('u32', 0)
  const byte = new DeviceValue(
    'u32',
    ev.emitter.value('permuteBytes', 'u32', [word, zero, immediate('u32', selector)]),
  )
  return new DeviceValue(type, bitcast(ev, byte, 'i32').operand)
}

/** Stores values side by side from an address on. */
export function storeRun(
  ev: Evaluator,
  memory: Memory,
  address: Address,
  values: readonly DeviceValue[],
  cache: string,
): void {
  const size = dtypeBytes[memory.dtype]
  const width = vectorBytes(memory, address, values.length * size)
  memory.accessed(Math.max(width, size))
  if (width < 4 || (size === 4 && width === 4)) {
    for (const [i, value] of values.entries()) {
      storeOne(ev, memory, address.register, address.offset + i * size, value, cache)
    }
    return
  }
  const words = wordsOf(ev, memory, values)
  for (let at = 0; at < values.length * size; at += width) {
    const part = words.slice(at / 4, (at + width) / 4)
    ev.emitter.emit(
      'store',
      [],
      [address.register, ...part],
      attributesOf(memory, address.offset + at, cache),
    )
  }
}

function wordsOf(ev: Evaluator, memory: Memory, values: readonly DeviceValue[]): Operand[] {
  const { dtype } = memory
  if (dtypeBytes[dtype] === 4) return values.map((v) => v.operand)
  const words: Operand[] = []
  const per = 4 / dtypeBytes[dtype]
  for (let i = 0; i < values.length; i += per) {
    const group = values.slice(i, i + per)
    words.push(
      per === 2
        ? ev.emitter.value(
            'pack2',
            wordType(memory),
            group.map((v) => v.operand),
          )
        : packBytes(ev, group),
    )
  }
  return words
}

/** Four bytes, each the lowest of a 32-bit register, in one word by three `prmt`. */
function packBytes(ev: Evaluator, values: readonly DeviceValue[]): Operand {
  const [a, b, c, d] = values.map((v) => bitcast(ev, new DeviceValue('i32', v.operand), 'u32').operand) as [
    Operand,
    Operand,
    Operand,
    Operand,
  ]
  const permute = (x: Operand, y: Operand, selector: number) =>
    ev.emitter.value('permuteBytes', 'u32', [x, y, immediate('u32', selector)])
  return permute(permute(a, b, 0x0040), permute(c, d, 0x0040), 0x5410)
}
