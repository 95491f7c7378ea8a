/** An integer, or a list of int tuples: the nested shapes and strides of layouts. */
export type IntTuple = number | readonly IntTuple[]

/** A coordinate: one value for a whole (possibly nested) mode, or one per submode. */
export type Coord<T> = T | readonly Coord<T>[]

export const isTuple = (t: IntTuple): t is readonly IntTuple[] => typeof t !== 'number'

/** The integers of a tuple, left to right. */
export const leaves = (t: IntTuple): number[] => (isTuple(t) ? t.flatMap(leaves) : [t])

export const productOf = (t: IntTuple): number => leaves(t).reduce((a, b) => a * b, 1)

/** `(8,(2,4))`; a bare integer has no parentheses. */
export const formatTuple = (t: IntTuple): string =>
  isTuple(t) ? `(${t.map(formatTuple).join(',')})` : `${t}`

/** Whether two tuples nest alike. */
export function congruent(a: IntTuple, b: IntTuple): boolean {
  if (!isTuple(a) || !isTuple(b)) return !isTuple(a) && !isTuple(b)
  return a.length === b.length && a.every((t, i) => congruent(t, b[i]!))
}

/** The compact strides of a shape when its first integer varies fastest. */
export function compactStride(shape: IntTuple, from = 1): IntTuple {
  if (!isTuple(shape)) return from
  let step = from
  return shape.map((s) => {
    const stride = compactStride(s, step)
    step *= productOf(s)
    return stride
  })
}

/** A frozen copy, so that a layout cannot change under a cache that holds its id. */
export const frozen = (t: IntTuple): IntTuple => (isTuple(t) ? Object.freeze(t.map(frozen)) : t)
