/**
 * JSON with sorted keys, so that equal values give equal text. Throws on what JSON would drop or blur: functions,
 * undefined, class instances, NaN and infinities; a negative zero is kept apart from zero.
 */
export function canonicalJson(value: unknown, path = 'the value'): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number' && Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value)
  if (Array.isArray(value)) return `[${value.map((item, i) => canonicalJson(item, `${path}[${i}]`)).join()}]`
  if (typeof value === 'object' && isPlain(value)) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item, `${path}.${key}`)}`).join()}}`
  }
  const kind = typeof value === 'object' ? `an instance of ${value.constructor.name}` : String(value)
  throw new TypeError(
    `${path} is ${kind}: only numbers, strings, booleans, null, arrays and plain objects can stand here`,
  )
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
