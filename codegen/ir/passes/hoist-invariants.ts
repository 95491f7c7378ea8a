import { assigned, Definitions } from '../definitions.ts'
import type { Block, Instruction, KernelIr, Loop } from '../op.ts'
import { walk } from '../rewrite.ts'
import { isPure } from '../spec.ts'

/**
 * Moves out of a loop what gives the same in every iteration: pure instructions into temporaries, whose arguments the
 * loop does not write.
 *
 *     loop {                         %3 = mul %1, %2
 *       %3 = mul %1, %2       →      loop {
 *       …                              …
 *
 * An instruction under an `if` moves, too: nothing pure traps. Inner loops come first, so what they let go may leave
 * the outer one as well. Not worth a register for the whole loop, and left where they are, are constants, matrix
 * descriptors, and comparisons: there are few predicates. What a `wgmma` uses is unknown until a wait, which therefore
 * counts as writing it.
 */
export function hoistInvariants(ir: KernelIr): KernelIr {
  const definitions = new Definitions(ir)
  const inFlight = usedByWgmma(ir)
  const inBlock = (block: Block): Block =>
    block.flatMap((node): Block => {
      if (node.kind === 'if')
        return [{ ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) }]
      if (node.kind !== 'loop') return [node]
      return hoist({ ...node, body: inBlock(node.body), step: inBlock(node.step) }, definitions, inFlight)
    })
  return { ...ir, body: inBlock(ir.body) }
}

/** Worth less than a register. */
const stays = new Set(['move', 'matrixDescriptor'])

/** Registers that products of matrices run on while the threads go on. */
function usedByWgmma(ir: KernelIr): Set<number> {
  const ids = new Set<number>()
  walk(ir.body, (node) => {
    if (node.kind !== 'instruction' || node.op !== 'wgmma') return
    for (const operand of [...node.results, ...node.args])
      if (operand.kind === 'register') ids.add(operand.id)
  })
  return ids
}

function waits(loop: Loop): boolean {
  let found = false
  walk([loop], (node) => {
    if (node.kind === 'instruction' && node.op === 'wgmmaWait') found = true
  })
  return found
}

/** What leaves the loop, and the loop. */
function hoist(loop: Loop, definitions: Definitions, inFlight: ReadonlySet<number>): Block {
  const written = assigned(loop.body, loop.step)
  if (inFlight.size > 0 && waits(loop)) for (const id of inFlight) written.add(id)
  const hoisted: Instruction[] = []
  const leaves = (node: Instruction): boolean =>
    isPure(node) &&
    !stays.has(node.op) &&
    node.results.every(({ id, type }) => type !== 'bool' && definitions.isTemporary(id)) &&
    node.args.every((arg) => arg.kind === 'immediate' || !written.has(arg.id))
  const inBlock = (block: Block): Block =>
    block.flatMap((node): Block => {
      switch (node.kind) {
        case 'instruction':
          if (!leaves(node)) return [node]
          hoisted.push(node)
          for (const { id } of node.results) written.delete(id)
          return []
        case 'if':
          return [{ ...node, body: inBlock(node.body), otherwise: inBlock(node.otherwise) }]
        case 'loop':
          return [{ ...node, body: inBlock(node.body), step: inBlock(node.step) }]
        default:
          return [node]
      }
    })
  const rest = { ...loop, body: inBlock(loop.body), step: inBlock(loop.step) }
  return [...hoisted, rest]
}
