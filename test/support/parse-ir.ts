import type {
  Attributes,
  Block,
  KernelIr,
  Location,
  Node,
  Operand,
  Register,
  SharedVariable,
  ValueType,
} from '../../codegen/ir/op.ts'
import { immediate } from '../../codegen/ir/value.ts'

/**
 * Reads IR in the form that `printIr` writes, so that tests of passes can show what goes in and what comes out.
 * A node's line number is its line in the text; a register's type is known from where it is written.
 */
export function parseIr(text: string): KernelIr {
  const lines = text
    .split('\n')
    .map((line, i) => ({ text: line.trim(), line: i + 1 }))
    .filter(({ text }) => text !== '')
  const [first, ...rest] = lines
  const header = /^kernel (\w+)\((.*)\) block (\d+)x(\d+)x(\d+) \{$/.exec(first!.text)
  if (!header) throw new Error(`not the first line of a kernel: ${first!.text}`)
  const [, name, params, ...block] = header
  const parser = new Parser(rest)
  const shared: SharedVariable[] = []
  for (let match = parser.shared(); match; match = parser.shared()) shared.push(match)
  const body = parser.block()
  return {
    name: name!,
    params: params!
      .split(', ')
      .filter(Boolean)
      .map((param) => {
        const [name, type] = param.split(': ') as [string, 'address' | 'i32' | 'u32' | 'f32']
        return { name, type }
      }),
    shared,
    body,
    block: block.map(Number) as [number, number, number],
  }
}

/** A kernel of 128 threads with parameters `x: address` and `n: i32`, read into %0 and %1 and both used, around a body. */
export const kernelOf = (
  body: string,
  block = '128x1x1',
): string => `kernel k(x: address, n: i32) block ${block} {
  %0: address = param index=0
  %1: i32 = param index=1
  store space=global offset=4096 %0, %1
${body}
}
`

class Parser {
  #next = 0
  readonly #lines: readonly { text: string; line: number }[]
  readonly #types = new Map<number, ValueType>()

  constructor(lines: readonly { text: string; line: number }[]) {
    this.#lines = lines
  }

  shared(): SharedVariable | undefined {
    const { text, line } = this.#lines[this.#next]!
    const match = /^shared (\d+) (\w+): (\d+) bytes, align (\d+)$/.exec(text)
    if (!match) return undefined
    this.#next++
    const [, id, name, bytes, align] = match
    return { id: Number(id), name: name!, bytes: Number(bytes), align: Number(align), location: at(line) }
  }

  /** Nodes up to the line with the closing brace, which is taken. */
  block(): Block {
    const nodes: Block = []
    for (;;) {
      const current = this.#lines[this.#next++]
      if (!current) throw new Error('the text ends inside a block')
      const { text, line } = current
      if (text.startsWith('}')) return nodes
      nodes.push(this.#node(text, at(line)))
    }
  }

  #node(text: string, location: Location): Node {
    if (text === 'break' || text === 'continue' || text === 'return') return { kind: text, location }
    if (text === 'loop {') {
      const body = this.block()
      return { kind: 'loop', body, step: this.#closedBy('} step {') ? this.block() : [], location }
    }
    const condition = /^if (\S+) \{$/.exec(text)
    if (condition) {
      const body = this.block()
      const otherwise = this.#closedBy('} else {') ? this.block() : []
      return { kind: 'if', condition: this.#operand(condition[1]!), body, otherwise, location }
    }
    return this.#instruction(text, location)
  }

  #closedBy(brace: string): boolean {
    return this.#lines[this.#next - 1]!.text === brace
  }

  #instruction(text: string, location: Location): Node {
    const match = /^(?:(.*?) = )?(\w+)((?: \w+=\S*)*)(?: (.*))?$/.exec(text)
    if (!match) throw new Error(`not an instruction: ${text}`)
    const [, left, op, names, right] = match
    const args = (right ?? '')
      .split(', ')
      .filter(Boolean)
      .map((arg) => this.#operand(arg))
    const attributes: Attributes = Object.fromEntries(
      names!
        .trim()
        .split(' ')
        .filter(Boolean)
        .map((pair) => {
          const [name, value] = pair.split('=') as [string, string]
          return [name, attribute(value)]
        }),
    )
    const results = (left ?? '')
      .split(', ')
      .filter(Boolean)
      .map((result): Register => {
        const [, id, type] = /^%(\d+): (\w+)$/.exec(result)!
        this.#types.set(Number(id), type as ValueType)
        return { kind: 'register', id: Number(id), type: type as ValueType }
      })
    return { kind: 'instruction', op: op!, results, args, attributes, location }
  }

  #operand(text: string): Operand {
    if (text.startsWith('%')) {
      const id = Number(text.slice(1))
      return { kind: 'register', id, type: this.#types.get(id) ?? 'i32' }
    }
    const [value, type] = text.split(':') as [string, ValueType]
    return immediate(type, Number(value))
  }
}

const at = (line: number): Location => ({ file: 'test.ts', line, column: 1 })

function attribute(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true'
  return /^-?\d+$/.test(text) ? Number(text) : text
}
