import { ConstraintError } from './error.ts'

/** A JSON Schema, as it came. */
export type Schema = Readonly<Record<string, unknown>>

/** Where a schema is: the keys that lead to it. */
export type SchemaPath = readonly (string | number)[]

/** What is wrong with a part of a schema. */
export function faultAt(path: SchemaPath, fault: string): ConstraintError {
  const place = path.length === 0 ? 'the schema' : `the schema's ${path.join('.').slice(0, 200)}`
  return new ConstraintError(`${place} ${fault}`)
}

/** A value in a message. */
export function shown(value: unknown): string {
  const written = JSON.stringify(value) ?? 'nothing'
  return written.length > 80 ? `${written.slice(0, 80)}…` : written
}

export const isObject = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A count that a keyword gives. */
export function countOf(schema: Schema, keyword: string, path: SchemaPath): number | undefined {
  const value = schema[keyword]
  if (value === undefined) return undefined
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw faultAt([...path, keyword], `is ${shown(value)}; give a whole number from 0`)
  return value as number
}
