// biome-ignore lint/suspicious/noExplicitAny: a schema is whatever a test wrote
type Schema = any

/** Whether a value is one that a schema allows, for the keywords that texts can be made to follow. */
export function conforms(schema: Schema, value: unknown, root = schema): boolean {
  if (typeof schema === 'boolean') return schema
  const all = (schemas: unknown[]) => schemas.map((one) => conforms(one, value, root))
  if (schema.$ref !== undefined && !conforms(targetOf(root, schema.$ref), value, root)) return false
  if (schema.anyOf && !all(schema.anyOf).some(Boolean)) return false
  if (schema.allOf && !all(schema.allOf).every(Boolean)) return false
  if (schema.enum && !schema.enum.some((one: unknown) => JSON.stringify(one) === JSON.stringify(value)))
    return false
  if ('const' in schema && JSON.stringify(schema.const) !== JSON.stringify(value)) return false
  if (schema.type !== undefined && ![schema.type].flat().some((type: string) => isOfType(value, type)))
    return false
  if (typeof value === 'string') return stringConforms(schema, value)
  if (typeof value === 'number') return numberConforms(schema, value)
  if (Array.isArray(value)) return arrayConforms(schema, value, root)
  if (typeof value === 'object' && value !== null) return objectConforms(schema, value, root)
  return true
}

function targetOf(root: Schema, reference: string): unknown {
  return reference
    .split('/')
    .slice(1)
    .reduce((found, key) => found[key], root)
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value)
  if (type === 'null') return value === null
  if (type === 'array') return Array.isArray(value)
  return typeof value === type && (type !== 'object' || (value !== null && !Array.isArray(value)))
}

function stringConforms({ minLength = 0, maxLength = Infinity, pattern }: Schema, value: string): boolean {
  const { length } = Array.from(value)
  return (
    length >= minLength &&
    length <= maxLength &&
    (pattern === undefined || new RegExp(pattern, 'u').test(value))
  )
}

function numberConforms(schema: Schema, value: number): boolean {
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum, exclusiveMaximum } = schema
  return (
    value >= minimum &&
    value <= maximum &&
    !(value <= exclusiveMinimum) &&
    !(value >= exclusiveMaximum) &&
    Number.isFinite(value)
  )
}

function arrayConforms(schema: Schema, value: unknown[], root: unknown): boolean {
  const { minItems = 0, maxItems = Infinity, prefixItems = [], items = true } = schema
  return (
    value.length >= minItems &&
    value.length <= maxItems &&
    value.every((item, i) => conforms(i < prefixItems.length ? prefixItems[i] : items, item, root))
  )
}

function objectConforms(schema: Schema, value: object, root: unknown): boolean {
  const { properties = {}, required = [], additionalProperties = true } = schema
  return (
    required.every((name: string) => Object.hasOwn(value, name)) &&
    Object.entries(value).every(([name, one]) =>
      conforms(Object.hasOwn(properties, name) ? properties[name] : additionalProperties, one, root),
    )
  )
}
