import {
  choice,
  complement,
  empty,
  type Grammar,
  intersection,
  never,
  optional,
  repeat,
  sequence,
  text,
} from './grammar.ts'
import { comma, json, pair, plainCharacters } from './json-text.ts'
import { countOf, faultAt, isObject, type Schema, type SchemaPath, shown } from './schema-fault.ts'

/** Elements of a list that are counted; a list that may have more may have so many. */
const mostCounted = 5_000

/** Reads the schemas of what is in a container. */
export interface InnerReader {
  read(schema: unknown, path: SchemaPath): Grammar
  /** A rule of its own for a grammar. */
  define(grammar: Grammar): Grammar
}

/**
 * Objects: the properties that are named, in their order, then others where the schema speaks of them. A property that is
 * required and not named is one of the others.
 */
export function objectGrammar(reader: InnerReader, schema: Schema, path: SchemaPath): Grammar {
  const { properties = {}, required = [], additionalProperties } = schema
  if (!isObject(properties)) throw faultAt([...path, 'properties'], 'is no object of schemas')
  if (!Array.isArray(required) || !required.every((name) => typeof name === 'string'))
    throw faultAt([...path, 'required'], 'is no list of names')
  const open = additionalProperties ?? schema.properties === undefined
  const extra = reader.read(open, [...path, 'additionalProperties'])
  const wanted = new Set<string>(required)
  const named = Object.entries(properties).map(([name, value]) => ({
    name,
    value: reader.read(value, [...path, 'properties', name]),
    needed: wanted.delete(name),
  }))
  const unnamed = [...wanted].map((name) => ({
    name,
    value: additionalProperties === undefined ? json('value') : extra,
    needed: true,
  }))
  const members = [...named, ...unnamed]
  const key = keysBesides(
    reader,
    members.map(({ name }) => name),
  )
  const other = pair(sequence('"', key, '"'), extra)
  const moreOthers = repeat(sequence(comma, other), 0)
  /** What may follow a member, and what an object may begin with when none came before. */
  let more = moreOthers
  let first: Grammar = optional(sequence(other, moreOthers, json('space')))
  for (const { name, value, needed } of members.toReversed()) {
    const member = pair(JSON.stringify(name), value)
    const rest = reader.define(more)
    const begun = sequence(member, rest, json('space'))
    first = needed ? begun : choice(begun, first)
    const next = sequence(comma, member, rest)
    more = needed ? next : choice(rest, next)
  }
  return sequence('{', json('space'), first, '}')
}

/** Keys other than these, in characters that stand for themselves. */
function keysBesides(reader: InnerReader, names: readonly string[]): Grammar {
  const isPlain = (name: string) => JSON.stringify(name).length === name.length + 2
  const any = repeat({ kind: 'class', ranges: plainCharacters }, 0)
  /** What does not go on like any of the names from their `at`-th character on. */
  const besides = (group: readonly (readonly string[])[], at: number): Grammar => {
    const byNext = new Map<string, (readonly string[])[]>()
    for (const name of group) {
      const next = name[at]
      if (next !== undefined) byNext.set(next, [...(byNext.get(next) ?? []), name])
    }
    const taken = [...byNext.keys()].map((one) => [one.codePointAt(0)!, one.codePointAt(0)!] as const)
    return reader.define(
      choice(
        group.some(({ length }) => length === at) ? never : empty,
        sequence({ kind: 'class', ranges: intersection(plainCharacters, complement(taken)) }, any),
        ...[...byNext].map(([next, inner]) => sequence(text(next), besides(inner, at + 1))),
      ),
    )
  }
  return names.length === 0
    ? any
    : besides(
        names.filter(isPlain).map((name) => Array.from(name)),
        0,
      )
}

/** Arrays: elements that have schemas of their own come first. */
export function arrayGrammar(reader: InnerReader, schema: Schema, path: SchemaPath): Grammar {
  const { prefixItems = [], items = true } = schema
  const least = countOf(schema, 'minItems', path) ?? 0
  const most = countOf(schema, 'maxItems', path)
  if (least > mostCounted) throw faultAt([...path, 'minItems'], `is ${least}; ${mostCounted} is the most`)
  if (!Array.isArray(prefixItems)) throw faultAt([...path, 'prefixItems'], 'is no list of schemas')
  if (Array.isArray(items))
    throw faultAt([...path, 'items'], `is a list, ${shown(items)}; call it prefixItems, as newer drafts do`)
  const first = prefixItems.map((item, i) => reader.read(item, [...path, 'prefixItems', i]))
  const rest = reader.read(items, [...path, 'items'])
  const limit = most === undefined ? undefined : Math.min(most, mostCounted)
  if (limit !== undefined && limit < least) return never
  const elements = listOf(reader, first, rest, least, limit)
  return sequence('[', json('space'), elements, ']')
}

function listOf(
  reader: InnerReader,
  first: readonly Grammar[],
  rest: Grammar,
  least: number,
  most: number | undefined,
): Grammar {
  const before = most === undefined ? first : first.slice(0, most)
  const count = before.length
  const behind = (taken: number) =>
    repeat(
      sequence(comma, rest),
      Math.max(0, least - Math.max(count, taken)),
      most === undefined ? undefined : most - Math.max(count, taken),
    )
  if (count === 0) {
    const some = most === 0 ? never : sequence(rest, behind(1), json('space'))
    return least > 0 ? some : optional(some)
  }
  /** What follows the elements up to the `at`-th. */
  let more = behind(0)
  for (let at = count - 1; at > 0; at--) {
    const on = sequence(comma, before[at]!, more)
    more = reader.define(at < least ? on : optional(on))
  }
  const some = sequence(before[0]!, more, json('space'))
  return least > 0 ? some : optional(some)
}
