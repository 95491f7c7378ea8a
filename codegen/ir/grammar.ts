import type { Instruction, Operand, ValueType } from './op.ts'
import { type OpSpec, ops } from './spec.ts'
import { normalize } from './value.ts'

/** An item of a pattern: `T`, `i32`, `T+`, `T?`. */
interface Item {
  readonly name: string
  readonly repeat: '' | '+' | '?'
}

interface Grammar {
  readonly results: readonly Item[]
  readonly args: readonly Item[]
  readonly where: ReadonlyMap<string, ReadonlySet<string>>
  readonly required: readonly string[]
  readonly spec: OpSpec
}

const parse = (pattern: string): Item[] =>
  pattern
    .split(' ')
    .filter(Boolean)
    .map((item) => ({
      name: item.replace(/[+?]$/, ''),
      repeat: item.endsWith('+') ? '+' : item.endsWith('?') ? '?' : '',
    }))

const grammars = new Map<string, Grammar>(
  Object.entries(ops).map(([op, spec]) => [
    op,
    {
      results: parse(spec.results),
      args: parse(spec.args),
      where: new Map(
        Object.entries(spec.where ?? {}).map(([name, list]) => [name, new Set(list.split(' '))]),
      ),
      required: Object.keys(spec.attributes ?? {}).filter((name) => !name.endsWith('?')),
      spec,
    },
  ]),
)

/** What an instruction by itself breaks of the grammar in `spec.ts`: a sentence, or undefined. */
export function brokenRule(node: Instruction): string | undefined {
  const grammar = grammars.get(node.op)
  if (!grammar) return `there is no operation ${node.op}`
  const bound = new Map<string, ValueType>()
  const why =
    mismatch('result', grammar.results, grammar, node.results, bound) ??
    mismatch('argument', grammar.args, grammar, node.args, bound) ??
    abnormal(node.args) ??
    wrongAttribute(node, grammar) ??
    grammar.spec.check?.(node)
  if (why) return why
  const twice = new Set(node.results.map(({ id }) => id)).size !== node.results.length
  return twice ? 'one register is written twice' : undefined
}

function mismatch(
  what: 'result' | 'argument',
  items: readonly Item[],
  { where }: Grammar,
  operands: readonly { type: ValueType }[],
  bound: Map<string, ValueType>,
): string | undefined {
  let next = 0
  for (const [at, { name, repeat }] of items.entries()) {
    const allowed = where.get(name)
    let taken = 0
    while (next < operands.length && (taken === 0 || repeat === '+')) {
      const { type } = operands[next]!
      // Accumulators and fragments of `mma` differ in type; its own check knows which is which.
      const same = name !== 'X' && allowed ? (bound.get(name) ?? type) : type
      if (allowed ? !allowed.has(type) || same !== type : name !== type) {
        const isLeftOut = repeat === '?' || taken > 0
        if (isLeftOut && at + 1 < items.length) break
        return `${what} ${next} is of type ${type}, not ${bound.get(name) ?? [...(allowed ?? [name])]}`
      }
      bound.set(name, type)
      next++
      taken++
    }
    if (taken === 0 && repeat !== '?') return `${what} ${next} is missing`
  }
  return next < operands.length ? `${what} ${next} is one too many` : undefined
}

function abnormal(args: readonly Operand[]): string | undefined {
  for (const arg of args) {
    if (arg.kind === 'register') continue
    const { type, value } = arg
    const normal =
      type === 'address' || type === 'u64'
        ? Number.isSafeInteger(value)
        : Object.is(normalize(type, value), value)
    if (!normal) return `${value} is no ${type}`
  }
  return undefined
}

function wrongAttribute({ attributes }: Instruction, { required, spec }: Grammar): string | undefined {
  for (const name of required) if (attributes[name] === undefined) return `the attribute ${name} is missing`
  for (const [name, value] of Object.entries(attributes)) {
    const allowed = spec.attributes?.[name] ?? spec.attributes?.[`${name}?`]
    if (!allowed) return `there is no attribute ${name}`
    const good =
      allowed === 'integer'
        ? Number.isSafeInteger(value)
        : allowed === 'boolean' || allowed === 'text'
          ? typeof value === (allowed === 'text' ? 'string' : allowed)
          : allowed.includes(value as string)
    if (!good) return `the attribute ${name} cannot be ${value}`
  }
  return undefined
}
