import { track } from '../evaluate/cells.ts'
import type { Value } from '../evaluate/values.ts'
import { Builtin } from '../evaluate/values.ts'

const methods = new Set(
  'startsWith endsWith includes indexOf slice split toUpperCase toLowerCase trim padStart padEnd repeat replace replaceAll charAt charCodeAt'.split(
    ' ',
  ),
)

/** A member of a static string: its length, or a method that gives a static value. */
export function stringMember(text: string, name: string): Value {
  if (name === 'length') return text.length
  if (!methods.has(name)) return undefined
  return new Builtin(name, [0, 3], (ev, args) => {
    const method = (text as unknown as Record<string, (...a: readonly unknown[]) => unknown>)[name]!
    const value: unknown = method.apply(text, args as unknown[])
    return Array.isArray(value) ? track(ev, value) : value
  })
}
