import {
  declaredNames,
  type FileNode,
  type FunctionNode,
  type Statement,
} from '../codegen/frontend/syntax.ts'

/**
 * The text of a file without the statements that none of its exports needs, lines where they were.
 *
 * Small programs keep a kernel and the code that runs it in one file. To compile the kernel, the file is imported for
 * its exported values; its main program (opening a device, launching, printing) must not run then. What a kernel's
 * body mentions is not needed: it never runs as JavaScript.
 */
export function withoutMainProgram(file: FileNode): string {
  const byName = new Map<string, Statement>()
  for (const statement of file.statements)
    for (const name of declaredNames(statement)) byName.set(name, statement)

  const kept = new Set<Statement>()
  const keep = (statement: Statement | undefined): void => {
    if (!statement || kept.has(statement)) return
    kept.add(statement)
    for (const name of mentioned(statement)) keep(byName.get(name))
  }
  for (const name of file.exported) keep(byName.get(name))
  for (const { local, from } of file.exports) if (from === undefined) keep(byName.get(local))
  // Declarations that our syntax tree does not describe (a class) do nothing by themselves.
  for (const statement of file.statements)
    if (statement.kind === 'unsupported' && declarations.has(statement.what)) keep(statement)

  let text = ''
  let at = 0
  for (const statement of file.statements.filter((each) => !kept.has(each))) {
    const { start, end } = statement.span
    text += file.source.text.slice(at, start) + file.source.text.slice(start, end).replace(/[^\r\n]/g, ' ')
    at = end
  }
  return text + file.source.text.slice(at)
}

const declarations: ReadonlySet<string> = new Set(['a class', 'an enum', 'a namespace'])

/** Names that running a statement may read; more than it does where variables of functions share a name. */
function mentioned(statement: Statement): Set<string> {
  const names = new Set<string>()
  collect(names, statement)
  return names
}

function collect(dst: Set<string>, node: unknown): void {
  if (Array.isArray(node)) for (const each of node) collect(dst, each)
  if (typeof node !== 'object' || node === null || Array.isArray(node)) return
  const { kind } = node as { kind?: string }
  if (kind === 'identifier') dst.add((node as { name: string }).name)
  else if (kind === 'unsupported') {
    const { source, start, end } = (node as Statement).span
    for (const [word] of source.text.slice(start, end).matchAll(/[\p{ID_Start}$_][\p{ID_Continue}$]*/gu))
      dst.add(word)
  } else if (kind === 'call') {
    const { callee, args } = node as { callee: unknown; args: readonly unknown[] }
    collect(dst, callee)
    for (const arg of isKernel(callee) ? args.filter((each) => !isBody(each)) : args) collect(dst, arg)
  } else {
    for (const [key, child] of Object.entries(node))
      if (key !== 'span' && key !== 'nameSpan' && key !== 'assigned') collect(dst, child)
  }
}

const isKernel = (callee: unknown): boolean =>
  (callee as { kind: string }).kind === 'identifier' && (callee as { name: string }).name === 'kernel'

const isBody = (arg: unknown): boolean =>
  (arg as FunctionNode).kind === 'function' && (arg as FunctionNode).name !== undefined
