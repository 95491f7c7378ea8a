import type { Span } from '../syntax.ts'
import type { Evaluator } from './evaluator.ts'
import type { Scope } from './scope.ts'
import { isPlainObject } from './values.ts'

/** The static values that a piece of source mentions, as `name = value`, for diagnostics. */
export function mentioned(ev: Evaluator, node: { readonly span: Span }): string[] {
  const { scope, statement } = ev.frame
  const found = new Map<string, string>()
  visit(node, scope, found)
  const wide = statement && ['expression', 'variable', 'return'].includes(statement.kind)
  if (wide && contains(statement.span, node.span)) visit(statement, scope, found)
  return [...found].slice(0, 6).map(([name, value]) => `${name} = ${value}`)
}

const contains = (outer: Span, inner: Span): boolean =>
  outer.source === inner.source && outer.start <= inner.start && inner.end <= outer.end

function visit(node: unknown, scope: Scope, found: Map<string, string>): void {
  if (Array.isArray(node)) {
    for (const each of node) visit(each, scope, found)
    return
  }
  if (typeof node !== 'object' || node === null) return
  const { kind } = node as { kind?: string }
  if (kind === 'function') return
  if (kind === 'identifier') {
    const { name } = node as { name: string }
    note(name, scope.find(name)?.slot, found)
    return
  }
  if (kind === 'member') {
    const { object, name } = node as { object: { kind: string; name: string }; name: string }
    if (object.kind === 'identifier') {
      const value = scope.find(object.name)?.slot
      if (isPlainObject(value) && Object.hasOwn(value, name))
        note(`${object.name}.${name}`, value[name], found)
      return
    }
  }
  for (const [key, child] of Object.entries(node))
    if (key !== 'span' && key !== 'nameSpan') visit(child, scope, found)
}

function note(name: string, value: unknown, found: Map<string, string>): void {
  if (typeof value === 'number' || typeof value === 'boolean') found.set(name, String(value))
  else if (typeof value === 'string' && value.length < 40) found.set(name, `'${value}'`)
}
