import type { Definitions } from './definitions.ts'
import { relate } from './evaluate.ts'
import { type Fact, type Facts, isConstant } from './facts.ts'
import type { Attributes, Immediate, Instruction, Operand, ValueType } from './op.ts'
import { immediate, isInteger, normalize, sameOperand } from './value.ts'

/** What a simplification looks at: how arguments were computed, and their bounds. */
export interface Known {
  readonly definitions: Definitions
  readonly facts: Facts
  /** Puts an instruction before the one that is being simplified, and gives its result. */
  readonly emit: (op: string, args: readonly Operand[], attributes: Attributes) => Operand
}

/** An instruction becomes one of its operands, or another instruction of the same result. */
export type Simpler =
  | Operand
  | { readonly op: string; readonly args: readonly Operand[]; readonly attributes?: Attributes }

type Identity = (node: Instruction, known: Known) => Simpler | undefined

const commutative = new Set(['add', 'mul', 'min', 'max', 'and', 'or', 'xor', 'mulHi', 'mulWide'])

/**
 * A simpler instruction with the same result, or undefined. An immediate stands on the right of what commutes, so the
 * rules look for it there; integer rules hold modulo 2^32, float rules for every bit but those of a NaN.
 */
export function simplify(node: Instruction, known: Known): Simpler | undefined {
  const { op, args } = node
  if (commutative.has(op) && isConst(args[0]!) && !isConst(args[1]!))
    return { op, args: [args[1]!, args[0]!], attributes: node.attributes }
  return identities[op]?.(node, known)
}

const isConst = (operand: Operand | undefined): operand is Immediate => operand?.kind === 'immediate'

/** Whether an operand is this very constant; 0 is not −0. */
const is = (operand: Operand, value: number): boolean =>
  operand.kind === 'immediate' && Object.is(operand.value, value)

/** The exponent of a positive power of two. */
function log2(value: number): number | undefined {
  const log = Math.log2(value)
  return Number.isInteger(log) ? log : undefined
}

const ones = (type: ValueType): number => normalize(type, -1)

/** How a stable operand was computed, when it was by `op` from stable arguments. */
function from(op: string, operand: Operand, { definitions }: Known): Instruction | undefined {
  const node = definitions.of(operand)
  return node?.op === op && node.args.every((arg) => definitions.isStable(arg)) ? node : undefined
}

/** `(x op c1) op c2` → `x op (c1 op c2)`. */
function chain(
  node: Instruction,
  known: Known,
  combine: (a: number, b: number) => number,
): Simpler | undefined {
  const [a, b] = node.args as [Operand, Operand]
  const inner = from(node.op, a, known)
  if (!isConst(b) || !inner || !isConst(inner.args[1])) return undefined
  return {
    op: node.op,
    args: [inner.args[0]!, immediate(b.type, combine(inner.args[1].value, b.value))],
    attributes: node.attributes,
  }
}

const identities: Readonly<Record<string, Identity>> = {
  add(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    if (a.type === 'f32') return is(b, -0) ? a : undefined
    if (a.type === 'address') return is(b, 0) ? a : chain(node, known, (x, y) => x + y)
    if (!isInteger(a.type)) return undefined
    return is(b, 0) ? a : chain(node, known, (x, y) => x + y)
  },
  sub({ args }) {
    const [a, b] = args as [Operand, Operand]
    if (a.type === 'f32') return is(b, 0) ? a : undefined
    if (!isInteger(a.type)) return undefined
    if (sameOperand(a, b)) return immediate(a.type, 0)
    if (isConst(b)) return { op: 'add', args: [a, immediate(a.type, -b.value)] }
    return is(a, 0) && a.type === 'i32' ? { op: 'neg', args: [b] } : undefined
  },
  mul(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    if (a.type === 'f32') return is(b, 1) ? a : is(b, -1) ? { op: 'neg', args: [a] } : undefined
    if (!isInteger(a.type)) return undefined
    if (is(b, 0)) return b
    if (is(b, 1)) return a
    return chain(node, known, Math.imul)
  },
  mad({ args }) {
    const [a, b, c] = args as [Operand, Operand, Operand]
    if (isConst(a) && !isConst(b)) return { op: 'mad', args: [b, a, c] }
    if (is(c, 0)) return { op: 'mul', args: [a, b] }
    if (is(b, 0)) return c
    if (is(b, 1)) return { op: 'add', args: [a, c] }
    return isConst(a) && isConst(b)
      ? { op: 'add', args: [c, immediate(c.type, Math.imul(a.value, b.value))] }
      : undefined
  },
  madWide({ args }) {
    const [a, b, c] = args as [Operand, Operand, Operand]
    if (isConst(a) && !isConst(b)) return { op: 'madWide', args: [b, a, c] }
    if (!isConst(a) || !isConst(b)) return is(b, 0) ? c : undefined
    return { op: 'add', args: [c, immediate('address', a.value * b.value)] }
  },
  mulWide: ({ args }) => (is(args[1]!, 0) ? immediate('address', 0) : undefined),
  /** A quotient by a power of two is exact in the reciprocal, too. */
  div(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    if (!isConst(b)) return undefined
    if (b.value === 1) return a
    const log = log2(Math.abs(b.value))
    if (a.type === 'f32')
      return log !== undefined && Math.abs(log) <= 126
        ? { op: 'mul', args: [a, immediate('f32', 1 / b.value)] }
        : undefined
    const { min, max } = known.facts.of(a)
    if (b.value <= 0 || min < 0) return undefined
    if (max < b.value) return immediate(a.type, 0)
    if (log === undefined) return quotient(node, b.value, known)
    return { op: 'shr', args: [a, immediate('u32', log)], attributes: { arithmetic: false } }
  },
  rem({ args }, known) {
    const [a, b] = args as [Operand, Operand]
    const { min, max, unit } = known.facts.of(a)
    if (!isConst(b) || b.value <= 0 || min < 0) return undefined
    if (max < b.value) return a
    if (unit % b.value === 0) return immediate(a.type, 0)
    if (log2(b.value) !== undefined) return { op: 'and', args: [a, immediate(a.type, b.value - 1)] }
    const sum = multipleAdded(a, b.value, known)
    return sum && { op: 'rem', args: [sum.rest, b] }
  },
  min: (node, known) => extreme(node, known, (a, b) => a.max <= b.min),
  max: (node, known) => extreme(node, known, (a, b) => a.min >= b.max),
  and: conjunction,
  or(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    if (sameOperand(a, b) || is(b, 0)) return a
    if (isConst(b) && b.value === ones(b.type)) return b
    return chain(node, known, (x, y) => x | y)
  },
  xor(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    if (sameOperand(a, b)) return immediate(a.type, 0)
    if (is(b, 0)) return a
    if (isConst(b) && b.value === ones(b.type)) return { op: 'not', args: [a] }
    return chain(node, known, (x, y) => x ^ y)
  },
  /** The opposite of a comparison; of floats only `eq` and `ne` have one, because of NaN. */
  not({ args }, known) {
    const [a] = args as [Operand]
    const inner = from('not', a, known)
    if (inner) return inner.args[0]!
    const compare = from('compare', a, known)
    if (!compare) return undefined
    const relation = compare.attributes.relation as keyof typeof opposite
    if (!isInteger(compare.args[0]!.type) && relation !== 'eq' && relation !== 'ne') return undefined
    return { op: 'compare', args: compare.args, attributes: { relation: opposite[relation] } }
  },
  neg: ({ args }, known) => from('neg', args[0]!, known)?.args[0],
  shl(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    return is(b, 0) ? a : shiftChain(node, known)
  },
  shr(node, known) {
    const [a, b] = node.args as [Operand, Operand]
    if (is(b, 0)) return a
    const whole = isConst(b) && b.value < 32 ? splitSum(a, 2 ** b.value, known) : undefined
    if (whole && known.facts.of(a).min >= 0)
      return { op: node.op, args: [whole, b], attributes: node.attributes }
    return (
      shiftChain(node, known) ??
      (isConst(b) && b.value < 31 ? quotient(node, 2 ** b.value, known) : undefined)
    )
  },
  compare({ args, attributes }, { facts }) {
    const [a, b] = args as [Operand, Operand]
    const relation = attributes.relation as keyof typeof mirrored
    if (isConst(a) && !isConst(b))
      return { op: 'compare', args: [b, a], attributes: { relation: mirrored[relation] } }
    if (!isInteger(a.type)) return undefined
    if (sameOperand(a, b)) return immediate('bool', relate(relation, 0, 0)!)
    const decided = decide(relation, facts.of(a), facts.of(b))
    return decided === undefined ? undefined : immediate('bool', decided ? 1 : 0)
  },
  select({ args }) {
    const [p, a, b] = args as [Operand, Operand, Operand]
    if (sameOperand(a, b)) return a
    if (isConst(p)) return p.value ? a : b
    if (a.type !== 'bool') return undefined
    if (isConst(a)) return a.value ? { op: 'or', args: [p, b] } : undefined
    return is(b, 0) ? { op: 'and', args: [p, a] } : undefined
  },
  convert(node, known) {
    const { results, args, attributes } = node
    const [a] = args as [Operand]
    const to = results[0]!.type
    if (to === a.type) return a
    const inner = from('convert', a, known) ?? from('bitcast', a, known)
    // Between i32 and u32 the bits stay: there and back is where one was.
    const word = (type: ValueType) => isInteger(type)
    if (
      inner &&
      !attributes.saturate &&
      !inner.attributes.saturate &&
      inner.args[0]!.type === to &&
      word(to) &&
      word(a.type)
    )
      return inner.args[0]
    return undefined
  },
  bitcast(node, known) {
    const to = node.results[0]!.type
    const [a] = node.args as [Operand]
    if (to === a.type) return a
    const inner = from('bitcast', a, known)
    if (!inner) return undefined
    return inner.args[0]!.type === to ? inner.args[0] : { op: 'bitcast', args: inner.args }
  },
}

const opposite = { eq: 'ne', ne: 'eq', lt: 'ge', ge: 'lt', gt: 'le', le: 'gt' } as const
const mirrored = { eq: 'eq', ne: 'ne', lt: 'gt', ge: 'le', gt: 'lt', le: 'ge' } as const

/** Whether bounds decide a comparison. */
function decide(relation: keyof typeof opposite, a: Fact, b: Fact): boolean | undefined {
  switch (relation) {
    case 'lt':
      return a.max < b.min ? true : a.min >= b.max ? false : undefined
    case 'ge':
      return a.min >= b.max ? true : a.max < b.min ? false : undefined
    case 'gt':
      return a.min > b.max ? true : a.max <= b.min ? false : undefined
    case 'le':
      return a.max <= b.min ? true : a.min > b.max ? false : undefined
    default: {
      const differ = a.max < b.min || a.min > b.max
      const same = isConstant(a) && isConstant(b) && a.min === b.min
      return differ ? relation === 'ne' : same ? relation === 'eq' : undefined
    }
  }
}

/** `min` and `max` where bounds say which one it is. */
function extreme(
  { args }: Instruction,
  { facts }: Known,
  isFirst: (a: Fact, b: Fact) => boolean,
): Operand | undefined {
  const [a, b] = args as [Operand, Operand]
  if (!isInteger(a.type)) return undefined
  if (sameOperand(a, b) || isFirst(facts.of(a), facts.of(b))) return a
  return isFirst(facts.of(b), facts.of(a)) ? b : undefined
}

/**
 * With a mask of low bits, 2^k − 1: what has no others is itself, what is a multiple of 2^k is 0, and of a sum with a
 * multiple of 2^k the rest is left: `(x + 64) & 31` → `x & 31`.
 */
function conjunction(node: Instruction, known: Known): Simpler | undefined {
  const [a, b] = node.args as [Operand, Operand]
  if (sameOperand(a, b) || is(b, 0)) return b
  if (!isConst(b)) return undefined
  if (b.value === ones(b.type)) return a
  if (a.type === 'bool') return undefined
  const size = b.value + 1
  if (b.value > 0 && log2(size) !== undefined) {
    const { min, max, unit } = known.facts.of(a)
    if (min >= 0 && max <= b.value) return a
    if (unit >= size) return immediate(a.type, 0)
    const sum = from('add', a, known)
    const rest = sum?.args.find((_, i) => known.facts.of(sum.args[1 - i]!).unit >= size)
    if (rest) return { op: 'and', args: [rest, b] }
  }
  return chain(node, known, (x, y) => x & y)
}

/** Of a sum of a multiple of `unit` and something in 0 … unit − 1: the multiple. */
function splitSum(operand: Operand, unit: number, known: Known): Operand | undefined {
  const sum = from('add', operand, known)
  return sum?.args.find((multiple, i) => {
    const rest = known.facts.of(sum.args[1 - i]!)
    const { min, unit: factor } = known.facts.of(multiple)
    return factor >= unit && min >= 0 && rest.min >= 0 && rest.max < unit
  })
}

/** That an operand is a sum, without overflow and of nothing negative, with a constant multiple of `unit`. */
function multipleAdded(operand: Operand, unit: number, known: Known) {
  const sum = from('add', operand, known)
  const [rest, multiple] = sum?.args ?? []
  if (!rest || !isConst(multiple) || multiple.value % unit !== 0) return undefined
  const { min, max } = known.facts.of(rest)
  const fits = min >= 0 && min + multiple.value >= 0 && max + multiple.value < 2 ** 31
  return fits ? { rest, multiple: multiple.value } : undefined
}

/** A quotient of such a sum: `(x + 128) >> 3` → `(x >> 3) + 16`, which unrolled iterations share. */
function quotient(node: Instruction, unit: number, known: Known): Simpler | undefined {
  const sum = multipleAdded(node.args[0]!, unit, known)
  if (!sum) return undefined
  const shared = known.emit(node.op, [sum.rest, node.args[1]!], node.attributes)
  return { op: 'add', args: [shared, immediate(shared.type, sum.multiple / unit)] }
}

/** Two shifts the same way by constants: one by their sum. */
function shiftChain(node: Instruction, known: Known): Simpler | undefined {
  const [a, b] = node.args as [Operand, Operand]
  const inner = from(node.op, a, known)
  if (!inner || !isConst(b) || !isConst(inner.args[1])) return undefined
  if (inner.attributes.arithmetic !== node.attributes.arithmetic) return undefined
  const total = inner.args[1].value + b.value
  if (inner.args[1].value < 0 || b.value < 0 || total > 31) return undefined
  return { op: node.op, args: [inner.args[0]!, immediate(b.type, total)], attributes: node.attributes }
}
