import type { Attributes, Instruction, Operand, Register, ValueType } from '../../codegen/ir/op.ts'
import { ops } from '../../codegen/ir/spec.ts'
import { wgmmaAtomOf } from '../../codegen/ir/spec-warpgroups.ts'
import { immediate } from '../../codegen/ir/value.ts'
import type { IrBuilder } from './build-ir.ts'

/** One way in which the grammar lets an operation be written. */
export interface OpForm {
  readonly op: string
  readonly results: readonly ValueType[]
  readonly args: readonly ValueType[]
  readonly attributes: Attributes
}

/** Values for attributes that are integers; the others list theirs. */
const integers: Readonly<Record<string, readonly number[]>> = {
  index: [0],
  barrierOffset: [8],
  count: [24, 256],
  threads: [64],
  upper: [2 ** 30 + 64],
  variable: [0],
  table: [0x96],
  offset: [0, 16],
  sharedOffset: [32],
  globalOffset: [-64],
  bytes: [4, 8, 16],
  pending: [0, 3],
}

const mmaFragments = 6

/** Atoms of `wgmma`, one of each kind of types. */
const wgmmaAtoms = ['m64n8k32.u8s8', 'm64n256k32.s8s8', 'm64n16k16.f16', 'm64n24k16.bf16', 'm64n8k32.e4m3']

/** Operations whose integers are a parity or the number of a barrier; others take multiples of 16, as some want. */
const small = ['waitBarrier', 'namedBarrier', 'namedArrive']

/** The parameter that is a tensor map. */
const tensorMapIndex = 1

function* choices<T>(lists: readonly (readonly T[])[]): Generator<T[]> {
  const [first, ...rest] = lists
  if (!first) yield []
  else for (const head of first) for (const tail of choices(rest)) yield [head, ...tail]
}

/** Types that a pattern of the grammar stands for, with `+` as one, two, four and more. */
function* expand(pattern: string, bound: ReadonlyMap<string, ValueType>): Generator<ValueType[]> {
  const items = pattern.split(' ').filter(Boolean)
  const counts = items.map((item) => (item.endsWith('+') ? [1, 2, 3, 4] : item.endsWith('?') ? [0, 1] : [1]))
  for (const count of choices(counts))
    yield items.flatMap((item, i) => {
      const name = item.replace(/[+?]$/, '')
      return Array<ValueType>(count[i]!).fill(bound.get(name) ?? (name as ValueType))
    })
}

/** Every form of an operation that its own check lets through. */
export function* formsOf(op: string): Generator<OpForm> {
  const spec = ops[op]!
  if (op === 'wgmma') {
    yield* wgmmaForms()
    return
  }
  const variables = Object.entries(spec.where ?? {})
  const attributes = Object.entries(spec.attributes ?? {}).map(([name, values]) => {
    const key = name.replace('?', '')
    const list =
      values === 'integer'
        ? op === 'tensorMap'
          ? [tensorMapIndex]
          : integers[key]!
        : values === 'boolean'
          ? [false, true]
          : (values as readonly string[])
    return list.map((value) => [key, value] as const)
  })
  if (op === 'mma') {
    for (const [, atom] of attributes[0]!) {
      const c = String(atom).startsWith('m16n8k32') ? 'i32' : 'f32'
      const results = Array<ValueType>(4).fill(c)
      yield {
        op,
        results,
        args: [...results, ...Array<ValueType>(mmaFragments).fill('u32')],
        attributes: { atom },
      }
    }
    return
  }
  for (const types of choices(variables.map(([, list]) => list.split(' ') as ValueType[]))) {
    const bound = new Map(variables.map(([name], i) => [name, types[i]!]))
    for (const results of expand(spec.results, bound))
      for (const args of expand(spec.args, bound))
        for (const pairs of choices(attributes)) {
          const form = { op, results, args, attributes: Object.fromEntries(pairs) }
          if (!spec.check?.(asInstruction(form))) yield form
        }
  }
}

function* wgmmaForms(): Generator<OpForm> {
  for (const name of wgmmaAtoms)
    for (const a of ['registers', 'shared'] as const) {
      const atom = wgmmaAtomOf(name)!
      const results = Array<ValueType>(atom.c.registers).fill(atom.c.dtype as 'f32')
      const operand = a === 'shared' ? (['u64'] as const) : Array<ValueType>(atom.a.registers).fill('u32')
      yield {
        op: 'wgmma',
        results,
        args: ['bool', 'u64', ...operand, ...results],
        attributes: { atom: name, a },
      }
    }
}

const location = { file: 'forms.ts', line: 1, column: 1 }
const asRegister = (type: ValueType): Register => ({ kind: 'register', id: 0, type })

function asInstruction({ op, results, args, attributes }: OpForm): Instruction {
  return {
    kind: 'instruction',
    op,
    results: results.map(asRegister),
    args: args.map(asRegister),
    attributes,
    location,
  }
}

/**
 * Emits a form twice: from registers, and with immediates wherever an argument is no address. `registers` has one
 * register per type. Results are fresh. What works in place is emitted once.
 */
export function emitForm(b: IrBuilder, form: OpForm, registers: ReadonlyMap<ValueType, Register>): void {
  const { op, attributes } = form
  if (ops[op]!.inPlace) {
    const results = form.results.map((type) => b.value('move', type, [immediate(type, 1)]))
    const others = form.args.slice(0, -results.length).map((type): Operand => registers.get(type)!)
    b.emit(op, results, [...others, ...results], attributes)
    return
  }
  const fromRegisters = form.args.map((type): Operand => registers.get(type)!)
  b.emit(
    op,
    form.results.map((type) => b.register(type)),
    fromRegisters,
    attributes,
  )
  if (form.args.length === 0) return
  const isBase = (i: number) =>
    (ops[op]!.where?.A !== undefined && i === 0) || ['ldmatrix', 'copyAsync', 'mma'].includes(op)
  const args = form.args.map((type, i) =>
    isBase(i) || type === 'address'
      ? registers.get(type)!
      : immediate(type, small.includes(op) ? 1 : 16 * (i + 1)),
  )
  b.emit(
    op,
    form.results.map((type) => b.register(type)),
    args,
    attributes,
  )
}
