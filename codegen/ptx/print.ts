import type { KernelIr } from '../ir/op.ts'
import { walk } from '../ir/rewrite.ts'
import type { Target } from '../target.ts'
import { writeBody } from './control.ts'
import { untyped } from './registers.ts'
import { Writer } from './writer.ts'

export interface Printed {
  readonly ptx: string
  /** Files in the order of their `.file` numbers. */
  readonly files: string[]
}

/**
 * Prints a kernel, whose shared variables have been allocated, as a PTX module. `sharedAlign` aligns the window of
 * shared memory. Throws a diagnostic when the target lacks an instruction.
 */
export function printPtx(ir: KernelIr, target: Target, sharedAlign: number): Printed {
  const w = new Writer(target)
  writeBody(w, ir)
  const body = w.lines.splice(0)
  for (const { name, type, text } of w.registers.constants()) w.line(`mov.${untyped[type]}`, name, text)
  const params = ir.params.map(({ type }, i) =>
    type === 'tensorMap'
      ? `  .param .align 64 .b8 param_${i}[128]`
      : `  .param .${paramTypes[type]} param_${i}`,
  )
  // Without it ptxas leaves out changes of the number of registers.
  const perMultiprocessor = ir.blocksPerMultiprocessor ?? (movesRegisters(ir) ? 1 : undefined)
  const lines = [
    `.version ${w.version()}`,
    `.target ${target.name}`,
    '.address_size 64',
    '',
    ...(ir.shared.length > 0 ? [`.extern .shared .align ${sharedAlign} .b8 shared_window[];`, ''] : []),
    `.visible .entry ${ir.name}(`,
    params.join(',\n'),
    ')',
    `.reqntid ${ir.block.join(', ')}`,
    ...(ir.cluster ? [`.reqnctapercluster ${ir.cluster}, 1, 1`] : []),
    ...(ir.maxRegisters ? [`.maxnreg ${ir.maxRegisters}`] : []),
    ...(perMultiprocessor ? [`.minnctapersm ${perMultiprocessor}`] : []),
    '{',
    ...w.registers.declarations(),
    ...w.lines,
    ...body,
    '}',
    ...w.locations.trailer(),
    '',
  ]
  return { ptx: lines.join('\n'), files: w.locations.files }
}

function movesRegisters({ body }: KernelIr): boolean {
  let moves = false
  walk(body, (node) => {
    if (node.kind === 'instruction' && /^(in|de)creaseRegisters$/.test(node.op)) moves = true
  })
  return moves
}

const paramTypes = { address: 'u64', i32: 's32', u32: 'u32', f32: 'f32' } as const
