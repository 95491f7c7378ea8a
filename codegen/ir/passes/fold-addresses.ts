import { Definitions } from '../definitions.ts'
import type { Block, Instruction, KernelIr, Operand, Register, ValueType } from '../op.ts'
import { type Fresh, freshRegisters, walk } from '../rewrite.ts'
import { integerOf } from '../spec.ts'
import { immediate } from '../value.ts'

/**
 * Moves constants out of address arithmetic into the offsets of memory instructions, however deep they stand, so that
 * the accesses of an unrolled loop share one base:
 *
 *     %4 = add %1, 32                      %8 = madWide %1, 4, %0
 *     %5 = madWide %4, 4, %0
 *     %6 = load %5                    →    %6 = load offset=128 %8
 *
 * For each sum or product on the way a twin without the constant is put behind it; twins of different accesses are
 * equal, so `eliminateCommon` leaves one of them, and `eliminateDead` removes what nothing reads any more.
 *
 * In shared memory this is exact, since addresses wrap as 32-bit sums do. For a global address it takes `i32` index
 * arithmetic not to overflow before it is widened, which is a rule of the language: an index that overflows is out of
 * bounds. Unsigned indices make no such promise and stay.
 */
export function foldAddresses(ir: KernelIr): KernelIr {
  const splitter = new Splitter(new Definitions(ir), freshRegisters(ir))
  const changed = new Map<Instruction, Instruction>()
  walk(ir.body, (node) => {
    if (node.kind !== 'instruction') return
    const folded = foldInstruction(node, splitter)
    if (folded) changed.set(node, folded)
  })
  const inBlock = (block: Block): Block =>
    block.flatMap((node): Block => {
      if (node.kind === 'instruction') return [changed.get(node) ?? node, ...(splitter.twins.get(node) ?? [])]
      if (node.kind === 'if')
        return [{ ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) }]
      if (node.kind === 'loop') return [{ ...node, body: inBlock(node.body), step: inBlock(node.step) }]
      return [node]
    })
  return { ...ir, body: inBlock(ir.body) }
}

/** Which arguments of an operation are addresses, and the attributes that are added to them. */
const addresses: Readonly<Record<string, readonly string[]>> = {
  load: ['offset'],
  store: ['offset'],
  atomic: ['offset'],
  reduce: ['offset'],
  ldmatrix: ['offset'],
  stmatrix: ['offset'],
  copyAsync: ['sharedOffset', 'globalOffset'],
  initBarrier: ['offset'],
  arrive: ['offset'],
  arriveExpecting: ['offset'],
  waitBarrier: ['offset'],
  copyBulk: ['sharedOffset', 'globalOffset', 'barrierOffset'],
  copyTensor: ['sharedOffset', 'barrierOffset'],
  storeTensor: ['sharedOffset'],
  prefetchBulk: ['globalOffset'],
  storeBulk: ['sharedOffset', 'globalOffset'],
  addBulk: ['sharedOffset', 'globalOffset'],
}

/** The attributes that are added to the first arguments of an instruction, in their order. */
export const addressesOf = ({ op }: Instruction): readonly string[] => addresses[op] ?? []

/** SASS has 24 bits for a signed offset. */
export const furthestOffset = 2 ** 23

function foldInstruction(node: Instruction, splitter: Splitter): Instruction | undefined {
  const names = addressesOf(node)
  const args = [...node.args]
  const attributes = { ...node.attributes }
  let changed = false
  for (const [i, name] of names.entries()) {
    const { base, offset } = splitter.split(args[i]!)
    const total = integerOf(attributes, name) + (args[i]!.type === 'u32' ? offset | 0 : offset)
    if (offset === 0 || Math.abs(total) >= furthestOffset) continue
    args[i] = base
    attributes[name] = total
    changed = true
  }
  return changed ? { ...node, args, attributes } : undefined
}

/** A value as the sum of another and a constant. */
interface Split {
  readonly base: Operand
  readonly offset: number
}

class Splitter {
  /** Instructions to be put behind others. */
  readonly twins = new Map<Instruction, Instruction[]>()
  readonly #definitions: Definitions
  readonly #fresh: Fresh
  readonly #splits = new Map<number, Split>()

  constructor(definitions: Definitions, fresh: Fresh) {
    this.#definitions = definitions
    this.#fresh = fresh
  }

  split(operand: Operand): Split {
    if (operand.kind === 'immediate') return { base: immediate(operand.type, 0), offset: operand.value }
    const known = this.#splits.get(operand.id)
    if (known) return known
    const node = this.#definitions.of(operand)
    const split = (node && this.#splitNode(node)) ?? { base: operand, offset: 0 }
    this.#splits.set(operand.id, split)
    return split
  }

  #splitNode(node: Instruction): Split | undefined {
    const { op, args } = node
    const [a, b, c] = args as [Operand, Operand, Operand]
    switch (op) {
      case 'add': {
        const [x, y] = [this.split(a), this.split(b)]
        return this.#sum(node, x, y)
      }
      case 'mul':
      case 'mulWide':
        return b.kind === 'immediate' && isExact(op, a.type) ? this.#scaled(node, b.value) : undefined
      case 'shl':
        return b.kind === 'immediate' && b.value >= 0 && b.value < 32
          ? this.#scaled(node, 2 ** b.value)
          : undefined
      case 'mad':
      case 'madWide': {
        if (b.kind !== 'immediate' || !isExact(op, a.type)) return undefined
        const [x, z] = [this.split(a), this.split(c)]
        const offset = x.offset * b.value + z.offset
        if (offset === 0) return undefined
        return { base: this.#twin(node, op, [x.base, b, z.base]), offset }
      }
      case 'convert':
      case 'bitcast': {
        // Between i32 and u32 the bits stay.
        if (a.type !== 'i32' && a.type !== 'u32') return undefined
        const x = this.split(a)
        return x.offset === 0 ? undefined : { base: this.#twin(node, op, [x.base]), offset: x.offset }
      }
      default:
        return undefined
    }
  }

  #sum(node: Instruction, x: Split, y: Split): Split | undefined {
    const offset = x.offset + y.offset
    if (offset === 0) return undefined
    if (isZero(y.base)) return { base: this.#stable(node, x.base), offset }
    if (isZero(x.base)) return { base: this.#stable(node, y.base), offset }
    return { base: this.#twin(node, 'add', [x.base, y.base]), offset }
  }

  /** A product with, or a shift by, a constant. */
  #scaled(node: Instruction, factor: number): Split | undefined {
    const { base, offset } = this.split(node.args[0]!)
    if (offset === 0) return undefined
    return { base: this.#twin(node, node.op, [base, node.args[1]!]), offset: offset * factor }
  }

  /** The operand, or a snapshot of it where `node` stands if it is a variable. */
  #stable(node: Instruction, operand: Operand): Operand {
    return this.#definitions.isStable(operand) || this.#isTwin(operand)
      ? operand
      : this.#twin(node, 'move', [operand])
  }

  readonly #made = new Set<number>()
  #isTwin(operand: Operand): boolean {
    return operand.kind === 'register' && this.#made.has(operand.id)
  }

  #twin(node: Instruction, op: string, args: readonly Operand[]): Register {
    const type: ValueType = node.results[0]!.type
    const result = this.#fresh(type)
    this.#made.add(result.id)
    const twin: Instruction = { ...node, op, results: [result], args }
    const behind = this.twins.get(node)
    if (behind) behind.push(twin)
    else this.twins.set(node, [twin])
    return result
  }
}

const isZero = (operand: Operand): boolean => operand.kind === 'immediate' && operand.value === 0

/** Whether a constant may be moved out of the product: always when it wraps like the address, else for `i32`. */
const isExact = (op: string, type: ValueType): boolean => !op.endsWith('Wide') || type === 'i32'
