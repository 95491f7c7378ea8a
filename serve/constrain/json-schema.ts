import { ConstraintError } from './error.ts'
import { choice, type Grammar, never, rule, sequence, text } from './grammar.ts'
import type { GrammarDraft } from './grammar-draft.ts'
import { arrayGrammar, type InnerReader, objectGrammar } from './json-containers.ts'
import { inString, json } from './json-text.ts'
import { integersIn, type NumberRange, numbersIn } from './number-range.ts'
import { regexGrammar } from './regex.ts'
import { countOf, faultAt, isObject, type Schema, type SchemaPath, shown } from './schema-fault.ts'
import { meaningful, mergeSchemas, requireSupported } from './schema-keywords.ts'
import { stringFormats } from './string-formats.ts'

const deepest = 64
const mostSchemas = 10_000
/** Bounds of numbers are written out with their digits. */
const smallestBound = 1e-90

const typeNames = ['object', 'array', 'string', 'integer', 'number', 'boolean', 'null'] as const
type TypeName = (typeof typeNames)[number]

/** What keywords are about, where a schema does not say its type. */
const typeOfKeyword: Readonly<Record<string, TypeName>> = {
  properties: 'object',
  required: 'object',
  additionalProperties: 'object',
  items: 'array',
  prefixItems: 'array',
  minItems: 'array',
  maxItems: 'array',
  minLength: 'string',
  maxLength: 'string',
  pattern: 'string',
  format: 'string',
  minimum: 'number',
  maximum: 'number',
  exclusiveMinimum: 'number',
  exclusiveMaximum: 'number',
}

/**
 * The JSON that a schema allows; its rules, whose names begin with `prefix`, are added to a draft. Throws `ConstraintError`
 * for what is no schema or cannot be followed.
 */
export function readSchema(schema: unknown, draft: GrammarDraft, prefix: string): Grammar {
  return new SchemaReader(schema, draft, prefix).read(schema, [])
}

/** Turns the schemas of one document into grammars; those that are objects, arrays or referred to become rules. */
class SchemaReader implements InnerReader {
  readonly #document: unknown
  readonly #draft: GrammarDraft
  readonly #prefix: string
  /** Rules by what refers to them. */
  readonly #references = new Map<string, Grammar>()
  #schemas = 0
  #names = 0

  constructor(document: unknown, draft: GrammarDraft, prefix: string) {
    this.#document = document
    this.#draft = draft
    this.#prefix = prefix
  }

  /** A rule of its own. */
  define(grammar: Grammar): Grammar {
    const name = `${this.#prefix}_${this.#names++}`
    this.#draft.rules.set(name, grammar)
    return rule(name)
  }

  read(schema: unknown, path: SchemaPath): Grammar {
    if (++this.#schemas > mostSchemas)
      throw new ConstraintError(`the schema has more than ${mostSchemas} parts`)
    if (path.length > 2 * deepest) throw new ConstraintError(`the schema is more than ${deepest} parts deep`)
    if (schema === true) return json('value')
    if (schema === false) return never
    return this.#readObject(this.#asSchema(schema, path), path)
  }

  #asSchema(schema: unknown, path: SchemaPath): Schema {
    if (isObject(schema)) return schema
    throw faultAt(path, 'is no schema; give an object, true or false')
  }

  #readObject(schema: Schema, path: SchemaPath): Grammar {
    requireSupported(schema, path)
    const { $ref, anyOf, oneOf, allOf, nullable, ...rest } = schema
    if (nullable === true) return choice(this.#readObject({ ...schema, nullable: false }, path), 'null')
    if ($ref !== undefined) {
      const others = meaningful({ ...rest, anyOf, oneOf, allOf })
      return Object.keys(others).length === 0
        ? this.#readReference($ref, path)
        : this.#readObject(mergeSchemas(this.#target($ref, path).schema, others, path), path)
    }
    if (allOf !== undefined) {
      const parts = listOf(allOf, path, 'allOf').map((part, i) => this.#whole(part, [...path, 'allOf', i]))
      const merged = parts.reduce(
        (all, part) => mergeSchemas(all, part, path),
        meaningful({ ...rest, anyOf, oneOf }),
      )
      return this.#readObject(merged, path)
    }
    const alternatives = anyOf ?? oneOf
    if (alternatives !== undefined) {
      if (anyOf !== undefined && oneOf !== undefined)
        throw faultAt(path, 'has both anyOf and oneOf; keep one')
      const keyword = anyOf !== undefined ? 'anyOf' : 'oneOf'
      const others = meaningful(rest)
      return choice(
        ...listOf(alternatives, path, keyword).map((option, i) => {
          const at = [...path, keyword, i]
          if (Object.keys(others).length === 0 || option === false) return this.read(option, at)
          return this.read(mergeSchemas(others, this.#whole(option, at), at), at)
        }),
      )
    }
    return this.#readValue(rest, path)
  }

  /** A schema with what it refers to in its place. */
  #whole(part: unknown, path: SchemaPath): Schema {
    let schema = part === true ? {} : this.#asSchema(part, path)
    for (let i = 0; schema.$ref !== undefined; i++) {
      if (i > deepest) throw faultAt(path, 'refers to itself')
      const { $ref, ...rest } = schema
      schema = mergeSchemas(this.#target($ref, path).schema, meaningful(rest), path)
    }
    return schema
  }

  #readReference(reference: unknown, path: SchemaPath): Grammar {
    const { schema, at } = this.#target(reference, path)
    const known = this.#references.get(reference as string)
    if (known) return known
    // Known before it is read, since it may hold itself.
    const named = this.define(never) as Grammar & { kind: 'rule' }
    this.#references.set(reference as string, named)
    this.#draft.rules.set(named.name, this.read(schema, at))
    return named
  }

  #target(reference: unknown, path: SchemaPath): { schema: Schema; at: SchemaPath } {
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference))
      throw faultAt(
        [...path, '$ref'],
        `is ${shown(reference)}; only places in the schema, as "#/$defs/NAME", can be referred to`,
      )
    const keys = decoded(reference)
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
    let found: unknown = this.#document
    for (const key of keys)
      found =
        typeof found === 'object' && found !== null && Object.hasOwn(found, key)
          ? (found as Schema)[key]
          : undefined
    if (found === undefined)
      throw faultAt([...path, '$ref'], `is ${shown(reference)}, which the schema does not have`)
    return {
      schema: typeof found === 'boolean' ? (found ? {} : { enum: [] }) : this.#asSchema(found, keys),
      at: keys,
    }
  }

  #readValue(schema: Schema, path: SchemaPath): Grammar {
    if (schema.const !== undefined || schema.enum !== undefined) return enumGrammar(schema, path)
    const types = typesOf(schema, path)
    if (types === undefined) return json('value')
    return choice(...types.map((type) => this.#readType(type, schema, path)))
  }

  #readType(type: TypeName, schema: Schema, path: SchemaPath): Grammar {
    switch (type) {
      case 'object':
        return this.define(objectGrammar(this, schema, path))
      case 'array':
        return this.define(arrayGrammar(this, schema, path))
      case 'string':
        return stringGrammar(this.#draft, schema, path)
      case 'integer':
      case 'number':
        return numberGrammar(type, schema, path)
      case 'boolean':
        return choice('true', 'false')
      case 'null':
        return text('null')
    }
  }
}

const decoded = (reference: string): string => {
  try {
    return decodeURIComponent(reference)
  } catch {
    return reference
  }
}

function listOf(value: unknown, path: SchemaPath, keyword: string): readonly unknown[] {
  if (Array.isArray(value) && value.length > 0) return value
  throw faultAt([...path, keyword], 'is no list of schemas')
}

function typesOf(schema: Schema, path: SchemaPath): readonly TypeName[] | undefined {
  const { type } = schema
  if (type === undefined) {
    const implied = new Set(
      Object.keys(schema).flatMap((key) => (Object.hasOwn(typeOfKeyword, key) ? typeOfKeyword[key]! : [])),
    )
    return implied.size === 0 ? undefined : [...implied]
  }
  const types: readonly unknown[] = Array.isArray(type) ? type : [type]
  for (const one of types)
    if (!typeNames.includes(one as TypeName))
      throw faultAt([...path, 'type'], `is ${shown(one)}; it is one of ${typeNames.join(', ')}`)
  return [...new Set(types as TypeName[])]
}

function enumGrammar(schema: Schema, path: SchemaPath): Grammar {
  const { const: constant, enum: list, ...rest } = schema
  const values: unknown = constant !== undefined ? [constant] : list
  if (!Array.isArray(values)) throw faultAt([...path, 'enum'], 'is no list of values')
  const types = typesOf(rest, path)
  const { type: _, ...others } = meaningful(rest)
  const [more] = Object.keys(others).filter((key) => Object.hasOwn(typeOfKeyword, key))
  if (more !== undefined) throw faultAt(path, `has ${more} beside values that are listed; leave it out`)
  const allowed = values.filter(
    (value) =>
      (types?.some((type) => isOfType(value, type)) ?? true) &&
      (constant === undefined || list === undefined || includes(list, constant, path)),
  )
  return choice(...allowed.map((value) => JSON.stringify(value)))
}

function includes(list: unknown, value: unknown, path: SchemaPath): boolean {
  if (!Array.isArray(list)) throw faultAt([...path, 'enum'], 'is no list of values')
  return list.some((one) => JSON.stringify(one) === JSON.stringify(value))
}

function isOfType(value: unknown, type: TypeName): boolean {
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  return typeof value === type && (type !== 'object' || (value !== null && !Array.isArray(value)))
}

function stringGrammar(draft: GrammarDraft, schema: Schema, path: SchemaPath): Grammar {
  const { pattern, format } = schema
  const least = countOf(schema, 'minLength', path)
  const most = countOf(schema, 'maxLength', path)
  const counted = least !== undefined || most !== undefined
  const followed =
    typeof format === 'string' && Object.hasOwn(stringFormats, format) ? stringFormats[format] : undefined
  if (pattern !== undefined) {
    if (typeof pattern !== 'string') throw faultAt([...path, 'pattern'], 'is no text')
    if (counted || followed !== undefined)
      throw faultAt(
        path,
        `has pattern beside ${counted ? 'a length' : 'format'}; say it in the pattern alone`,
      )
    try {
      return sequence('"', inString(regexGrammar(pattern, { search: true })), '"')
    } catch (error) {
      throw error instanceof ConstraintError
        ? faultAt([...path, 'pattern'], `is wrong: ${error.message}`)
        : error
    }
  }
  if (followed !== undefined && !counted) return sequence('"', inString(regexGrammar(followed)), '"')
  if (least === undefined && most === undefined) return json('string')
  if (most !== undefined && most < (least ?? 0)) return never
  return draft.countedString(least ?? 0, most ?? Number.MAX_SAFE_INTEGER)
}

function numberGrammar(type: 'integer' | 'number', schema: Schema, path: SchemaPath): Grammar {
  const range = rangeOf(schema, path)
  if (range.least === undefined && range.most === undefined) return json(type)
  return type === 'integer' ? integersIn(range) : numbersIn(range)
}

function rangeOf(schema: Schema, path: SchemaPath): NumberRange {
  const bound = (keyword: string, strictKeyword: string, tighter: (a: number, b: number) => number) => {
    const of = (key: string): number | undefined => {
      const value = schema[key]
      // Older drafts say with true that a bound is strict.
      if (value === undefined || typeof value === 'boolean') return undefined
      if (typeof value === 'number' && (value === 0 || Math.abs(value) >= smallestBound)) return value
      throw faultAt([...path, key], `is ${shown(value)}; give a number, 0 or at least ${smallestBound}`)
    }
    const [loose, strict] = [of(keyword), of(strictKeyword)]
    if (loose === undefined) return strict === undefined ? undefined : { value: strict, strict: true }
    if (strict === undefined) return { value: loose, strict: schema[strictKeyword] === true }
    return { value: tighter(loose, strict), strict: tighter(loose, strict) === strict }
  }
  return {
    least: bound('minimum', 'exclusiveMinimum', Math.max),
    most: bound('maximum', 'exclusiveMaximum', Math.min),
  }
}
