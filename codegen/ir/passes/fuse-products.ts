import type { Block, Instruction, KernelIr, Operand } from '../op.ts'
import { countReads } from '../reads.ts'
import { immediate, isInteger } from '../value.ts'

/**
 * Joins an integer product and the sum that alone reads it, and makes shifts of the products that are left with a
 * power of two.
 *
 *     %3 = mul %1, %2            %4 = mad %1, %2, %0
 *     %4 = add %3, %0      →
 *     %5 = mulWide %1, 4         %6 = madWide %1, 4, %7
 *     %6 = add %5, %7
 *
 * Both must stand in one block, with the product's arguments unchanged in between, so that nothing moves into a loop.
 * Floats are left alone: the author writes `fma` where one rounding is meant.
 */
export function fuseProducts(ir: KernelIr): KernelIr {
  const reads = countReads(ir)
  const inBlock = (block: Block): Block => {
    /** Products of this block whose arguments have not been written since. */
    const products = new Map<number, Instruction>()
    const forget = (id: number): void => {
      products.delete(id)
      for (const [result, { args }] of products)
        if (args.some((arg) => arg.kind === 'register' && arg.id === id)) products.delete(result)
    }
    const fused = new Set<Instruction>()
    const nodes = block.map((node) => {
      switch (node.kind) {
        case 'instruction': {
          const product = node.op === 'add' ? productOf(node, products, reads) : undefined
          if (product) fused.add(product)
          const result = product ? fuse(node, product) : node
          for (const { id } of node.results) forget(id)
          if (node.op === 'mul' && isInteger(node.results[0]!.type)) products.set(node.results[0]!.id, node)
          if (node.op === 'mulWide') products.set(node.results[0]!.id, node)
          return result
        }
        case 'if':
          products.clear()
          return { ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) }
        case 'loop':
          products.clear()
          return { ...node, body: inBlock(node.body), step: inBlock(node.step) }
        default:
          return node
      }
    })
    return nodes
      .filter((node) => node.kind !== 'instruction' || !fused.has(node))
      .map((node) => (node.kind === 'instruction' ? shifted(node) : node))
  }
  return { ...ir, body: inBlock(ir.body) }
}

/** The product among a sum's terms that nothing else reads. */
function productOf(
  { args }: Instruction,
  products: ReadonlyMap<number, Instruction>,
  reads: ReadonlyMap<number, number>,
): Instruction | undefined {
  for (const arg of args)
    if (arg.kind === 'register' && reads.get(arg.id) === 1 && products.has(arg.id))
      return products.get(arg.id)
  return undefined
}

function fuse(sum: Instruction, product: Instruction): Instruction {
  const isProduct = (arg: Operand) => arg.kind === 'register' && arg.id === product.results[0]!.id
  const rest = sum.args.find((arg) => !isProduct(arg))!
  return { ...sum, op: product.op === 'mul' ? 'mad' : 'madWide', args: [...product.args, rest] }
}

function shifted(node: Instruction): Instruction {
  const [a, b] = node.args
  if (node.op !== 'mul' || b?.kind !== 'immediate' || !isInteger(b.type)) return node
  const log = Math.log2(b.value)
  return Number.isInteger(log) ? { ...node, op: 'shl', args: [a!, immediate('u32', log)] } : node
}
