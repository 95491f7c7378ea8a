import type { Immediate, Operand, Register, ValueType } from '../ir/op.ts'
import { bitsOf } from '../ir/value.ts'

/** The register class of a type: the PTX type of its declaration and the prefix of its names. */
interface RegisterClass {
  readonly prefix: string
  readonly ptx: string
}

const predicate = { prefix: '%p', ptx: '.pred' }
const bits16 = { prefix: '%rs', ptx: '.b16' }
const bits32 = { prefix: '%r', ptx: '.b32' }
const float32 = { prefix: '%f', ptx: '.f32' }
const bits64 = { prefix: '%rd', ptx: '.b64' }

const classes: Readonly<Record<ValueType, RegisterClass>> = {
  bool: predicate,
  i8: bits16,
  u8: bits16,
  f16: bits16,
  bf16: bits16,
  i32: bits32,
  u32: bits32,
  f32: float32,
  f16x2: bits32,
  bf16x2: bits32,
  address: bits64,
  u64: bits64,
}

/** Types as untyped moves and selections name them. */
export const untyped: Readonly<Record<ValueType, string>> = {
  bool: 'pred',
  i8: 'b16',
  u8: 'b16',
  f16: 'b16',
  bf16: 'b16',
  i32: 'b32',
  u32: 'b32',
  f32: 'f32',
  f16x2: 'b32',
  bf16x2: 'b32',
  address: 'b64',
  u64: 'b64',
}

/** The bits of a value as PTX writes them in an untyped operand. */
const hex = (bits: number): string => `0x${bits.toString(16)}`

/** An immediate where the instruction takes one: a float in its exact form, a half or a pair as its bits. */
function printImmediate({ type, value }: Immediate): string {
  switch (type) {
    case 'f32':
      return `0f${bitsOf('f32', value).toString(16).toUpperCase().padStart(8, '0')}`
    case 'f16':
    case 'bf16':
    case 'f16x2':
    case 'bf16x2':
      return hex(bitsOf(type, value))
    default:
      return String(value)
  }
}

/** Names the virtual registers of one kernel, densely and in order of appearance, and its constants in registers. */
export class Registers {
  readonly #names = new Map<number, string>()
  readonly #counts = new Map<RegisterClass, number>()
  readonly #constants = new Map<
    string,
    { readonly name: string; readonly type: ValueType; readonly text: string }
  >()

  name({ id, type }: Register): string {
    const known = this.#names.get(id)
    if (known !== undefined) return known
    const name = this.fresh(type)
    this.#names.set(id, name)
    return name
  }

  /** Lets two registers of the IR be one of PTX. */
  alias({ id }: Register, of: Register): void {
    this.#names.set(id, this.name(of))
  }

  /** A register of PTX that no register of the IR stands for. */
  fresh(type: ValueType): string {
    const of = classes[type]
    const next = (this.#counts.get(of) ?? 0) + 1
    this.#counts.set(of, next)
    return of.prefix + next
  }

  /** An operand where the instruction takes an immediate. */
  operand(operand: Operand): string {
    return operand.kind === 'register' ? this.name(operand) : printImmediate(operand)
  }

  /** An operand where it does not: immediates are put into a register when the kernel starts. */
  inRegister(operand: Operand): string {
    if (operand.kind === 'register') return this.name(operand)
    const text = printImmediate(operand)
    const key = classes[operand.type].prefix + text
    let constant = this.#constants.get(key)
    if (!constant) {
      constant = { name: this.fresh(operand.type), type: operand.type, text }
      this.#constants.set(key, constant)
    }
    return constant.name
  }

  /** The constants that `inRegister` made up. */
  constants(): readonly { readonly name: string; readonly type: ValueType; readonly text: string }[] {
    return [...this.#constants.values()]
  }

  /** `.reg .b32 %r<12>;`: names count from 1. */
  declarations(): string[] {
    return [predicate, bits16, bits32, float32, bits64].flatMap((of) => {
      const count = this.#counts.get(of)
      return count === undefined ? [] : [`  .reg ${of.ptx} ${of.prefix}<${count + 1}>;`]
    })
  }
}
