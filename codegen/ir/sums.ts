import type { Definitions } from './definitions.ts'
import type { Instruction, Operand, Register } from './op.ts'
import { isPure } from './spec.ts'

/** A register times a constant. A 32-bit one is widened with its sign where the sum is an address. */
export interface Term {
  readonly register: Register
  readonly factor: number
}

/** A value as a sum of registers times constants, and a constant. */
export interface Sum {
  readonly terms: readonly Term[]
  readonly constant: number
  /** Products and sums that compute it, within the innermost loop of the last one. */
  readonly cost: number
  /** Variables among the terms, with the number of their writes at the time. */
  readonly variables: ReadonlyMap<number, number>
}

/** Sums with more terms are left as they are. */
const mostTerms = 6

/** Products and sums in each operation that the sums go through. */
const costs: Readonly<Record<string, number>> = {
  add: 1,
  mul: 1,
  shl: 1,
  mulWide: 1,
  mad: 2,
  madWide: 2,
  convert: 0,
  bitcast: 0,
}

const none: ReadonlyMap<number, number> = new Map()

/**
 * Integers and addresses as sums of products with constants, noted instruction by instruction in order of the text.
 *
 * 32-bit sums wrap, and so do the factors. A sum that is widened to an address must not have wrapped, and has passed
 * through `i32` alone; that index arithmetic does not overflow is a rule of the language.
 */
export class Sums {
  readonly #definitions: Definitions
  readonly #sums = new Map<number, Sum>()
  readonly #writes = new Map<number, number>()
  /** Where each noted instruction stands. */
  readonly #depths = new Map<number, number>()

  constructor(definitions: Definitions) {
    this.#definitions = definitions
  }

  /** Tells that a variable has a new value. */
  write(id: number): void {
    if (!this.#definitions.isTemporary(id)) this.#writes.set(id, this.#version(id) + 1)
  }

  /** The operand as a sum, as of now. */
  of(operand: Operand): Sum {
    if (operand.kind === 'immediate') return { terms: [], constant: operand.value, cost: 0, variables: none }
    const known = this.#sums.get(operand.id)
    if (known && [...known.variables].every(([id, version]) => this.#version(id) === version)) return known
    const isVariable = !this.#definitions.isTemporary(operand.id)
    return {
      terms: [{ register: operand, factor: 1 }],
      constant: 0,
      cost: 0,
      variables: isVariable ? new Map([[operand.id, this.#version(operand.id)]]) : none,
    }
  }

  /** Notes what an instruction gives. `depth` is how many loops it stands in. */
  note(node: Instruction, depth: number): void {
    const [result] = node.results
    if (!result || !isPure(node) || !this.#definitions.isTemporary(result.id)) return
    const sum = this.#sumOf(node)
    if (!sum || sum.terms.length > mostTerms) return
    const cost = node.args.reduce((total, arg) => total + this.#costOf(arg, depth), costs[node.op]!)
    this.#sums.set(result.id, { ...sum, cost })
    this.#depths.set(result.id, depth)
  }

  #version(id: number): number {
    return this.#writes.get(id) ?? 0
  }

  #costOf(operand: Operand, depth: number): number {
    if (operand.kind === 'immediate' || this.#depths.get(operand.id) !== depth) return 0
    return this.of(operand).cost
  }

  #sumOf({ op, results, args, attributes }: Instruction): Sum | undefined {
    const { type } = results[0]!
    if (type !== 'i32' && type !== 'u32' && type !== 'address') return undefined
    const [a, b, c] = args as [Operand, Operand, Operand]
    const wraps = type !== 'address'
    switch (op) {
      case 'add':
        return plus(this.of(a), this.of(b), wraps)
      case 'mul':
        return b.kind === 'immediate' ? times(this.of(a), b.value, wraps) : undefined
      case 'shl':
        return b.kind === 'immediate' && b.value >= 0 && b.value < 32
          ? times(this.of(a), 2 ** b.value, wraps)
          : undefined
      case 'mad':
        return b.kind === 'immediate' ? plus(times(this.of(a), b.value, wraps), this.of(c), wraps) : undefined
      case 'mulWide':
        return b.kind === 'immediate' ? this.#widened(a, b.value) : undefined
      case 'madWide': {
        const product = b.kind === 'immediate' ? this.#widened(a, b.value) : undefined
        return product && plus(product, this.of(c), false)
      }
      case 'convert':
      case 'bitcast':
        return (a.type === 'i32' || a.type === 'u32') && !attributes.saturate ? this.of(a) : undefined
      default:
        return undefined
    }
  }

  #widened(operand: Operand, factor: number): Sum | undefined {
    if (operand.type !== 'i32') return undefined
    const sum = this.of(operand)
    // Behind a conversion from `u32`, the terms say nothing about overflow.
    if (sum.terms.some(({ register }) => register.type !== 'i32')) return undefined
    return times(sum, factor, false)
  }
}

function plus(a: Sum, b: Sum, wraps: boolean): Sum {
  const terms = [...a.terms]
  for (const term of b.terms) {
    const at = terms.findIndex(({ register }) => register.id === term.register.id)
    if (at < 0) terms.push(term)
    else terms[at] = { ...term, factor: wrap(terms[at]!.factor + term.factor, wraps) }
  }
  return {
    terms: terms.filter(({ factor }) => factor !== 0),
    constant: wrap(a.constant + b.constant, wraps),
    cost: 0,
    variables: new Map([...a.variables, ...b.variables]),
  }
}

function times(a: Sum, by: number, wraps: boolean): Sum {
  const product = (value: number): number => (wraps ? Math.imul(value, by) : value * by)
  return {
    ...a,
    terms: a.terms.map(({ register, factor }) => ({ register, factor: product(factor) })),
    constant: product(a.constant),
  }
}

const wrap = (value: number, wraps: boolean): number => (wraps ? value | 0 : value)
