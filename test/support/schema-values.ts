import fc from 'fast-check'

/** The parts of JSON Schema that the server's own schemas are written in. */
export interface ValueSchema {
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly ValueSchema[]
  readonly oneOf?: readonly ValueSchema[]
  readonly properties?: Readonly<Record<string, ValueSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: ValueSchema | boolean
  readonly items?: ValueSchema
  readonly minimum?: number
  readonly maximum?: number
}

/** Texts with all that JSON can say and few expect: NUL, lone surrogates, what no one writes. */
const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '\0', '\ud800', '\udc00a', 'a\0b', '12', 'x'.repeat(2000)),
)

/** Values of a schema, now and then just beside it: numbers next to their bounds, fields that are missing. */
export function valuesOf(schema: ValueSchema): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  const options = schema.anyOf ?? schema.oneOf
  if (options) return fc.oneof(...options.map(valuesOf))
  const types = typeof schema.type === 'string' ? [schema.type] : (schema.type ?? ['any'])
  return fc.oneof(...types.map((type) => valuesOfType(type, schema)))
}

function valuesOfType(type: string, schema: ValueSchema): fc.Arbitrary<unknown> {
  const { minimum = -1e6, maximum = 1e6 } = schema
  switch (type) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'string':
      return texts
    case 'integer':
      return fc.oneof(
        fc.integer({ min: minimum, max: Math.min(maximum, minimum + 300) }),
        fc.constantFrom(minimum, maximum, minimum - 1, maximum + 1, 0.5),
      )
    case 'number':
      return fc.oneof(
        fc.double({ min: minimum, max: maximum, noNaN: true }),
        fc.constantFrom(minimum, maximum, minimum - 1e-9, maximum * 1.01, 1e308, 5e-324),
      )
    case 'array':
      return fc.array(valuesOf(schema.items ?? {}), { maxLength: 4 })
    case 'object':
      return objectsOf(schema)
    default:
      return fc.jsonValue({ maxDepth: 3 })
  }
}

function objectsOf({ properties = {}, required = [], additionalProperties }: ValueSchema) {
  const fields = fc.record(
    Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, valuesOf(value)])),
    { requiredKeys: [...required] },
  )
  if (typeof additionalProperties !== 'object') return fields
  const others = fc.dictionary(texts, valuesOf(additionalProperties), { maxKeys: 4 })
  return fc.tuple(fields, others).map(([named, more]) => ({ ...more, ...named }))
}
