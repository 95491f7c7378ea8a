import type { Instruction, KernelIr, Operand } from './op.ts'

/** What is known of an integer: its bounds, and a power of two that divides it. */
export interface Fact {
  readonly min: number
  readonly max: number
  /** Divides the value; 2^31 at most. */
  readonly unit: number
}

const lowest = { i32: -(2 ** 31), u32: 0 } as const
const highest = { i32: 2 ** 31 - 1, u32: 2 ** 32 - 1 } as const
const largestUnit = 2 ** 31

type Integer = 'i32' | 'u32'

const anything = (type: Integer): Fact => ({ min: lowest[type], max: highest[type], unit: 1 })

const unitOf = (value: number): number => (value === 0 ? largestUnit : (value & -value) >>> 0)

/**
 * Facts about the integer registers of a kernel: bounds of the thread and CTA indices, and what arithmetic makes of
 * them. A fact about a variable holds from `assume` to `forget`.
 */
export class Facts {
  readonly #block: KernelIr['block']
  readonly #facts = new Map<number, Fact>()

  constructor(block: KernelIr['block']) {
    this.#block = block
  }

  of(operand: Operand): Fact {
    if (operand.kind === 'immediate') {
      const { value } = operand
      return { min: value, max: value, unit: unitOf(value) }
    }
    return this.#facts.get(operand.id) ?? anything(operand.type as Integer)
  }

  assume(id: number, fact: Fact): void {
    this.#facts.set(id, fact)
  }

  forget(id: number): void {
    this.#facts.delete(id)
  }

  /** Notes what an instruction gives. */
  learn(instruction: Instruction): void {
    for (const { id, type } of instruction.results) {
      if (type !== 'i32' && type !== 'u32') continue
      const fact = this.#result(instruction, type)
      // A sum or a product beyond the type's bounds wraps, which keeps only a unit that is a power of two.
      const { min, max } = fact
      const wraps = !(min >= lowest[type] && max <= highest[type])
      this.#facts.set(id, wraps ? { ...anything(type), unit: fact.unit } : fact)
    }
  }

  #result(instruction: Instruction, type: Integer): Fact {
    const { op, args, attributes } = instruction
    if (op === 'special') return this.#special(attributes.name as string)
    if (op === 'convert' && args[0]!.type === 'bool') return { min: 0, max: 1, unit: 1 }
    if (op === 'popCount' || op === 'leadingZeros') return { min: 0, max: 32, unit: 1 }
    if (op === 'convert' && args[0]!.type === 'u8') return { min: 0, max: 255, unit: 1 }
    if (op === 'select') return join(this.of(args[1]!), this.of(args[2]!))
    if (args.length === 0 || args.some((arg) => arg.type !== 'i32' && arg.type !== 'u32'))
      return anything(type)
    const [a, b] = args.map((arg) => this.of(arg)) as [Fact, Fact]
    switch (op) {
      case 'move':
        return a
      // Between i32 and u32 the bits stay.
      case 'convert':
      case 'bitcast':
        return a.min >= 0 && a.max <= highest.i32 ? a : { ...anything(type), unit: a.unit }
      case 'add':
        return { min: a.min + b.min, max: a.max + b.max, unit: Math.min(a.unit, b.unit) }
      case 'sub':
        return { min: a.min - b.max, max: a.max - b.min, unit: Math.min(a.unit, b.unit) }
      case 'mul':
        return product(a, b)
      case 'mad':
        return sum(product(a, b), this.of(args[2]!))
      case 'min':
        return { min: Math.min(a.min, b.min), max: Math.min(a.max, b.max), unit: Math.min(a.unit, b.unit) }
      case 'max':
        return { min: Math.max(a.min, b.min), max: Math.max(a.max, b.max), unit: Math.min(a.unit, b.unit) }
      case 'and':
        return both(a, b, type)
      case 'or':
      case 'xor':
        return either(a, b, type)
      case 'shl':
        return isConstant(b) && b.min >= 0 && b.min < 32 ? product(a, constant(2 ** b.min)) : anything(type)
      case 'shr':
        return shiftRight(a, b, type, attributes.arithmetic === true)
      case 'div':
        return a.min >= 0 && isConstant(b) && b.min > 0
          ? { min: Math.floor(a.min / b.min), max: Math.floor(a.max / b.min), unit: 1 }
          : anything(type)
      case 'rem':
        return a.min >= 0 && isConstant(b) && b.min > 0
          ? { min: 0, max: Math.min(a.max, b.min - 1), unit: Math.min(a.unit, b.unit) }
          : anything(type)
      default:
        return anything(type)
    }
  }

  /** PTX manual, special registers; a grid has at most 2^31 − 1 CTAs in x and 65535 in y and z. */
  #special(name: string): Fact {
    const [register, axis] = name.split('.') as [string, string | undefined]
    const at = axis === undefined ? 0 : 'xyz'.indexOf(axis)
    const ctas = at === 0 ? highest.i32 : 65_535
    switch (register) {
      case 'tid':
        return { min: 0, max: this.#block[at]! - 1, unit: this.#block[at] === 1 ? largestUnit : 1 }
      case 'ctaid':
        return { min: 0, max: ctas - 1, unit: 1 }
      case 'nctaid':
        return { min: 1, max: ctas, unit: 1 }
      default:
        return { min: 0, max: 31, unit: 1 }
    }
  }
}

export const isConstant = ({ min, max }: Fact): boolean => min === max

const constant = (value: number): Fact => ({ min: value, max: value, unit: unitOf(value) })

const join = (a: Fact, b: Fact): Fact => ({
  min: Math.min(a.min, b.min),
  max: Math.max(a.max, b.max),
  unit: Math.min(a.unit, b.unit),
})

const sum = (a: Fact, b: Fact): Fact => ({
  min: a.min + b.min,
  max: a.max + b.max,
  unit: Math.min(a.unit, b.unit),
})

function product(a: Fact, b: Fact): Fact {
  const corners = [a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max]
  return {
    min: Math.min(...corners),
    max: Math.max(...corners),
    unit: Math.min(a.unit * b.unit, largestUnit),
  }
}

/** `and` with something that is not negative is at most that. */
function both(a: Fact, b: Fact, type: Integer): Fact {
  const unit = Math.max(a.unit, b.unit)
  const limits = [a, b].filter(({ min }) => min >= 0).map(({ max }) => max)
  return limits.length > 0 ? { min: 0, max: Math.min(...limits), unit } : { ...anything(type), unit }
}

/** `or` and `xor` of what is not negative has no bit above the highest of either. */
function either(a: Fact, b: Fact, type: Integer): Fact {
  const unit = Math.min(a.unit, b.unit)
  if (a.min < 0 || b.min < 0) return { ...anything(type), unit }
  const bits = 32 - Math.clz32(Math.max(a.max, b.max))
  return { min: 0, max: 2 ** bits - 1, unit }
}

function shiftRight(a: Fact, b: Fact, type: Integer, arithmetic: boolean): Fact {
  if (!isConstant(b) || b.min < 0 || b.min > 31) return anything(type)
  const by = 2 ** b.min
  const unit = Math.max(1, a.unit / by)
  if (a.min >= 0 || arithmetic)
    return a.max > highest.i32 && arithmetic
      ? anything(type)
      : { min: Math.floor(a.min / by), max: Math.floor(a.max / by), unit }
  return b.min > 0 ? { min: 0, max: Math.floor(highest.u32 / by), unit } : anything(type)
}
