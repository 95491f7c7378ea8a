import type { Target } from '../../target.ts'
import type { Block, Instruction, KernelIr, Register, SharedVariable } from '../op.ts'
import { Refusal } from '../refusal.ts'
import { rewrite } from '../rewrite.ts'
import { immediate } from '../value.ts'

export interface SharedAllocation {
  readonly ir: KernelIr
  /** Bytes of the window that holds all variables. */
  readonly bytes: number
  /** Alignment of the window. */
  readonly align: number
}

/**
 * Gives each shared variable its place in one window, widest alignment first, and addresses it from the window's
 * base. So accesses to all variables share one base register, with the place folded into their offsets.
 *
 *     %1 = sharedAddress variable=2     →     %7 = sharedWindow
 *                                             %1 = add %7, 4096
 *
 * The window is dynamic shared memory whatever its size: more than 48 KB is to be had in no other way, and one way for
 * all sizes keeps launching simple. Throws when the variables do not fit the target.
 */
export function allocateShared(ir: KernelIr, target: Target): SharedAllocation {
  const offsets = new Map<number, number>()
  let bytes = 0
  const order = [...ir.shared].sort((a, b) => b.align - a.align)
  for (const variable of order) {
    bytes = Math.ceil(bytes / variable.align) * variable.align
    offsets.set(variable.id, bytes)
    bytes += variable.bytes
  }
  if (bytes > target.sharedBytes) throw tooLarge(ir, target, bytes)
  return { ir: addressFromWindow(ir, offsets), bytes, align: Math.max(16, order[0]?.align ?? 0) }
}

function tooLarge(ir: KernelIr, target: Target, bytes: number): Refusal {
  const describe = ({ name, bytes }: SharedVariable) => `${name} takes ${bytes} bytes`
  return new Refusal(
    'E0601',
    `${ir.name} needs ${bytes} bytes of shared memory, and a CTA of ${target.name} has ${target.sharedBytes}`,
    {
      location: ir.shared.at(-1)!.location,
      notes: [...ir.shared]
        .sort((a, b) => b.bytes - a.bytes)
        .map((variable) => ({ message: describe(variable), location: variable.location })),
      help: 'use smaller tiles or fewer stages',
    },
  )
}

function addressFromWindow(ir: KernelIr, offsets: ReadonlyMap<number, number>): KernelIr {
  return rewrite(ir, 'sharedAddress', (node, fresh): Block => {
    const window: Register = fresh('u32')
    const base: Instruction = { ...node, op: 'sharedWindow', results: [window], attributes: {} }
    const offset = immediate('u32', offsets.get(node.attributes.variable as number)!)
    return [base, { ...node, op: 'add', args: [window, offset], attributes: {} }]
  })
}
