import { assigned, Definitions, hasContinue } from '../definitions.ts'
import type { Block, Instruction, KernelIr, Operand } from '../op.ts'
import { isPure } from '../spec.ts'

/**
 * Computes a value once: a pure instruction that an earlier one computed from the same arguments becomes a move.
 *
 *     %5 = add %1, %2        %5 = add %1, %2
 *     %6 = add %2, %1   →    %6 = move %5
 *
 * The earlier one must stand in the same block or in one around it, so that it has run. A variable is the same
 * argument as long as nothing has written it in between: the key of an expression has its number of writes so far.
 * Whatever a branch or a loop writes counts as written once more when it is entered and when it is left.
 */
export function eliminateCommon(ir: KernelIr): KernelIr {
  const definitions = new Definitions(ir)
  const writes: number[] = []
  const known = new Map<string, Instruction>()
  /** Temporaries that turned out to be others: expressions of both are the same. */
  const same = new Map<number, number>()

  const write = (id: number): void => {
    if (!definitions.isTemporary(id)) writes[id] = (writes[id] ?? 0) + 1
  }
  const writeAll = (ids: ReadonlySet<number>): void => {
    for (const id of ids) write(id)
  }
  const keyOf = (operand: Operand): string => {
    if (operand.kind === 'immediate')
      return `${Object.is(operand.value, -0) ? '-0' : operand.value}${operand.type}`
    const id = same.get(operand.id) ?? operand.id
    return definitions.isTemporary(id) ? `%${id}` : `%${id}.${writes[id]}`
  }
  const key = ({ op, results, args, attributes }: Instruction): string => {
    const keys = args.map(keyOf)
    if (commutative.has(op)) keys.sort()
    if (commutativeProduct.has(op)) keys.unshift(...keys.splice(0, 2).sort())
    let text = `${op} ${results[0]!.type} ${keys}`
    for (const name in attributes) text += ` ${name} ${attributes[name]}`
    return text
  }

  const inBlock = (block: Block): Block => {
    const added: string[] = []
    const result = block.flatMap((node): Block => {
      switch (node.kind) {
        case 'instruction': {
          const text = shared(node) ? key(node) : undefined
          const found = text === undefined ? undefined : known.get(text)
          if (found)
            return node.results.map((dst, i) => {
              write(dst.id)
              if (definitions.isTemporary(dst.id)) same.set(dst.id, found.results[i]!.id)
              return { ...node, op: 'move', results: [dst], args: [found.results[i]!], attributes: {} }
            })
          if (text !== undefined && node.results.every(({ id }) => definitions.isTemporary(id))) {
            known.set(text, node)
            added.push(text)
          }
          for (const { id } of node.results) write(id)
          return [node]
        }
        case 'if': {
          const written = assigned(node.body, node.otherwise)
          const body = inBlock(node.body)
          writeAll(written)
          const otherwise = inBlock(node.otherwise)
          writeAll(written)
          return [{ ...node, body, otherwise }]
        }
        case 'loop': {
          const written = assigned(node.body, node.step)
          writeAll(written)
          const { body, step } = inLoop(node.body, node.step)
          writeAll(written)
          return [{ ...node, body, step }]
        }
        default:
          return [node]
      }
    })
    for (const text of added) known.delete(text)
    return result
  }
  /** The step follows the body, and sees its expressions unless a `continue` may have left them out. */
  const inLoop = (body: Block, step: Block): { body: Block; step: Block } => {
    if (hasContinue(body)) {
      const first = inBlock(body)
      writeAll(assigned(body))
      return { body: first, step: inBlock(step) }
    }
    const both = inBlock([...body, stepMark, ...step])
    const at = both.indexOf(stepMark)
    return { body: both.slice(0, at), step: both.slice(at + 1) }
  }
  return { ...ir, body: inBlock(ir.body) }
}

/** Stands between a loop's body and its step while both are one block. */
const stepMark = { kind: 'break', location: { file: '', line: 1, column: 1 } } as const

const commutative = new Set(['add', 'mul', 'min', 'max', 'and', 'or', 'xor', 'mulHi', 'mulWide'])
/** Operations whose first two arguments are a product. */
const commutativeProduct = new Set(['mad', 'madWide', 'fma'])

/** Whether an instruction may be shared. A move is nothing to compute. */
const shared = (node: Instruction): boolean => isPure(node) && node.op !== 'move'
