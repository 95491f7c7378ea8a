import { faultAt, isObject, type Schema, type SchemaPath, shown } from './schema-fault.ts'

/** Keywords that say something of values which is not followed, so that a schema with them is refused. */
const unsupported = [
  ...['not', 'if', 'then', 'else', 'dependentRequired', 'dependentSchemas', 'dependencies'],
  ...['patternProperties', 'propertyNames', 'minProperties', 'maxProperties', 'unevaluatedItems'],
  ...[
    'contains',
    'minContains',
    'maxContains',
    'additionalItems',
    'multipleOf',
    '$dynamicRef',
    '$recursiveRef',
  ],
]

/** Keywords that say nothing of what is allowed. */
const silent = new Set([
  ...['title', 'description', 'default', 'example', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
  ...['$schema', '$id', 'id', '$anchor', '$comment', '$defs', 'definitions', 'discriminator', 'nullable'],
])

/** Throws `ConstraintError` for a schema whose values could not be made to fit it. */
export function requireSupported(schema: Schema, path: SchemaPath): void {
  const found = unsupported.find((keyword) => schema[keyword] !== undefined)
  const keyword = found ?? (schema.uniqueItems === true ? 'uniqueItems' : undefined)
  if (keyword !== undefined) throw faultAt(path, `has ${keyword}, which is not supported; leave it out`)
}

/** The keywords of a schema that say what is allowed. */
export function meaningful(schema: Schema): Schema {
  return Object.fromEntries(
    Object.entries(schema).filter(([key, value]) => value !== undefined && !silent.has(key)),
  )
}

/** The schema of values that both allow. Throws `ConstraintError` where that is not simply both written together. */
export function mergeSchemas(a: Schema, b: Schema, path: SchemaPath): Schema {
  const merged: Record<string, unknown> = { ...a }
  for (const [key, value] of Object.entries(b)) {
    const own = merged[key]
    if (own === undefined || silent.has(key) || JSON.stringify(own) === JSON.stringify(value))
      merged[key] = value
    else if (key === 'required' && Array.isArray(own) && Array.isArray(value))
      merged[key] = [...new Set([...own, ...value])]
    else if (key === 'properties' && isObject(own) && isObject(value)) merged[key] = joined(own, value, path)
    else
      throw faultAt(path, `says two things of ${key}, ${shown(own)} and ${shown(value)}; write them as one`)
  }
  if (closes(a, b) || closes(b, a))
    throw faultAt(path, 'has additionalProperties beside properties of another schema; write them as one')
  return merged
}

/** Whether what a schema says of additional properties is said of some that the other one names. */
function closes(schema: Schema, { properties }: Schema): boolean {
  const own = isObject(schema.properties) ? schema.properties : {}
  const others = isObject(properties) ? Object.keys(properties) : []
  return schema.additionalProperties !== undefined && others.some((name) => !Object.hasOwn(own, name))
}

function joined(a: Schema, b: Schema, path: SchemaPath): Schema {
  for (const name of Object.keys(b))
    if (Object.hasOwn(a, name) && JSON.stringify(a[name]) !== JSON.stringify(b[name]))
      throw faultAt(path, `says two things of the property ${shown(name)}; write them as one`)
  return { ...a, ...b }
}
