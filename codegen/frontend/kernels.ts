import { Diagnostic } from '../diagnostics.ts'
import { suggestion } from '../suggest.ts'
import type { Module } from './names.ts'
import type { Expression, FunctionNode, Statement } from './syntax.ts'

/** The kernels that a file declares: calls of `kernel(url, options, function name(a, c) { … })`. */
export function kernelsIn(module: Module): FunctionNode[] {
  const found: FunctionNode[] = []
  for (const statement of module.file?.statements ?? [])
    for (const e of expressionsOf(statement)) visit(e, found)
  return found
}

function expressionsOf(statement: Statement): Expression[] {
  if (statement.kind === 'variable')
    return statement.declarations.flatMap((d) => (d.initial ? [d.initial] : []))
  if (statement.kind === 'expression') return [statement.expression]
  if (statement.kind === 'functionDeclaration' && statement.function.body.kind === 'block') {
    return statement.function.body.body.flatMap((s) =>
      s.kind === 'return' && s.value ? [s.value] : expressionsOf(s),
    )
  }
  return []
}

function visit(node: Expression, found: FunctionNode[]): void {
  if (node.kind === 'function') {
    if (node.body.kind !== 'block') visit(node.body, found)
    return
  }
  if (node.kind === 'object') {
    for (const p of node.properties) visit(p.value, found)
    return
  }
  if (node.kind !== 'call') return
  const { callee } = node
  const name = callee.kind === 'identifier' ? callee.name : callee.kind === 'member' ? callee.name : ''
  const body = node.args.at(-1)
  if (name === 'kernel' && body?.kind === 'function' && body.name) found.push(body)
  else for (const arg of node.args) if (arg.kind !== 'spread') visit(arg, found)
}

/** The body of the kernel of a name. */
export function findKernel(module: Module, name: string): FunctionNode {
  const all = kernelsIn(module)
  const named = all.filter((k) => k.name === name)
  if (named.length === 1) return named[0]!
  if (named.length > 1) {
    throw new Diagnostic('E0004', `two kernels are named ${name}`, {
      span: named[1]!.span,
      notes: [{ message: 'the other one', span: named[0]!.span }],
      help: 'give each kernel of a file its own name',
    })
  }
  const names = all.map((k) => k.name!)
  const { source } = module.file!
  throw new Diagnostic('E0003', `this file declares no kernel '${name}'`, {
    span: { source, start: 0, end: 1 },
    help:
      suggestion(name, names) ??
      'the source is not the one that is running: rebuild, and write kernel(import.meta.url, options, function name(a, c) { … })',
  })
}
