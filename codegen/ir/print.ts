import type { Block, Instruction, KernelIr, Node, Operand } from './op.ts'

/** The IR as text, for `--emit ir` and for messages of the verifier. */
export function printIr(ir: KernelIr): string {
  const params = ir.params.map(({ name, type }) => `${name}: ${type}`).join(', ')
  const lines = [`kernel ${ir.name}(${params}) block ${ir.block.join('x')} {`]
  for (const { id, name, bytes, align } of ir.shared)
    lines.push(`  shared ${id} ${name}: ${bytes} bytes, align ${align}`)
  printBlock(lines, ir.body, '  ')
  return `${lines.join('\n')}\n}\n`
}

function printBlock(lines: string[], block: Block, indent: string): void {
  for (const node of block) {
    switch (node.kind) {
      case 'instruction':
        lines.push(indent + printInstruction(node))
        break
      case 'if':
        lines.push(`${indent}if ${printOperand(node.condition)} {`)
        printBlock(lines, node.body, `${indent}  `)
        if (node.otherwise.length > 0) {
          lines.push(`${indent}} else {`)
          printBlock(lines, node.otherwise, `${indent}  `)
        }
        lines.push(`${indent}}`)
        break
      case 'loop':
        lines.push(`${indent}loop {`)
        printBlock(lines, node.body, `${indent}  `)
        if (node.step.length > 0) {
          lines.push(`${indent}} step {`)
          printBlock(lines, node.step, `${indent}  `)
        }
        lines.push(`${indent}}`)
        break
      default:
        lines.push(indent + node.kind)
    }
  }
}

/** `%7: i32 = add %5, 4` */
function printInstruction({ op, results, args, attributes }: Instruction): string {
  const left = results.map(({ id, type }) => `%${id}: ${type}`).join(', ')
  const names = Object.entries(attributes).map(([name, value]) => ` ${name}=${value}`)
  const right = args.length > 0 ? ` ${args.map(printOperand).join(', ')}` : ''
  return `${left}${left && ' = '}${op}${names.join('')}${right}`
}

function printOperand(operand: Operand): string {
  if (operand.kind === 'register') return `%${operand.id}`
  return `${Object.is(operand.value, -0) ? '-0' : operand.value}:${operand.type}`
}

/** A node on one line: what a message needs to name it. */
export function printNode(node: Node): string {
  if (node.kind === 'instruction') return printInstruction(node)
  return node.kind === 'if' ? `if ${printOperand(node.condition)}` : node.kind
}
