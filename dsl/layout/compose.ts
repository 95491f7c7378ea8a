import { during, LayoutError } from './error.ts'
import type { IntTuple } from './int-tuple.ts'
import { isTuple } from './int-tuple.ts'
import type { Layout } from './layout.ts'
import { concat, isLayout, layout, modesOf, swizzled } from './layout.ts'
import type { Mode } from './modes.ts'
import { coalesceModes, flatModes, tupleOfModes } from './modes.ts'

/** What selects elements of a layout: a layout of flat indices, `n` for `n:1`, or one tiler per mode. */
export type Tiler = Layout | number | readonly Tiler[]

export const formatTiler = (t: Tiler): string =>
  isLayout(t) ? t.id : typeof t === 'number' ? `${t}:1` : `[${t.map(formatTiler).join(', ')}]`

/**
 * The layout `R` with `R(i) = a(b(i))`: `b` picks flat indices of `a`, and `R` takes every coordinate that `b` takes.
 * A list applies one tiler to each of the first modes of `a`; the modes after them stay.
 *
 * Not every such function is a layout. Seen as a number whose digits are the modes of `a`, the index that a mode of `b`
 * steps through must either never carry or run through whole digits, and modes of `b` together may not carry.
 *
 * @throws LayoutError where it is not, where `b` reaches beyond `a`, or if `b` is swizzled.
 */
export function compose(a: Layout, b: Tiler): Layout {
  return during('compose', [a, formatTiler(b)], () => composed(a, b))
}

function composed(a: Layout, b: Tiler): Layout {
  if (typeof b === 'number') return composed(a, layout(b, 1))
  if (isLayout(b)) return composeFlat(a, b)
  if (b.length > a.rank) throw failure(`a tiler of ${b.length} modes does not fit a layout of rank ${a.rank}`)
  const modes = modesOf(swizzled(a, undefined))
  return swizzled(concat(...modes.map((m, i) => (i < b.length ? composed(m, b[i]!) : m))), a.swizzle)
}

function composeFlat(a: Layout, b: Layout): Layout {
  if (b.swizzle) throw failure('the inner layout is swizzled; swizzle the result instead')
  if (b.cosize > a.size) {
    throw failure(`the inner layout reaches index ${b.cosize - 1}, but the outer one has ${a.size} elements`)
  }
  const digits = coalesceModes(flatModes(a.shape, a.stride)).map((m) => ({ ...m, reach: 0 }))
  const visit = (shape: IntTuple, stride: IntTuple): { shape: IntTuple; stride: IntTuple } => {
    if (!isTuple(shape) || !isTuple(stride))
      return tupleOfModes(select(digits, shape as number, stride as number))
    const parts = shape.map((s, i) => visit(s, stride[i]!))
    return { shape: parts.map((p) => p.shape), stride: parts.map((p) => p.stride) }
  }
  const { shape, stride } = visit(b.shape, b.stride)
  const carry = digits.find((d) => d.reach >= d.extent)
  if (carry) {
    throw failure(
      `modes of the inner layout add up to ${carry.reach} inside the mode ${carry.extent}:${carry.stride} of the ` +
        'outer one, and would carry into the next',
    )
  }
  return layout(shape, stride, a.swizzle)
}

/** A mode of the outer layout, and how far the inner layout's modes reach into it all together. */
interface Digit extends Mode {
  reach: number
}

/** The modes of the outer layout that `extent` steps of `step` flat indices run through. */
function select(digits: readonly Digit[], extent: number, step: number): Mode[] {
  if (extent === 1) return []
  if (step === 0) return [{ extent, stride: 0 }]
  const out: Mode[] = []
  for (const [i, digit] of digits.entries()) {
    const straight = withoutCarry(digits.slice(i), extent, step)
    if (straight) return [...out, straight]
    if (step % digit.extent === 0) {
      step /= digit.extent
      continue
    }
    if (digit.extent % step !== 0) {
      throw failure(
        `stride ${step} neither divides extent ${digit.extent} of the outer layout nor is a multiple of it`,
      )
    }
    const taken = digit.extent / step
    if (extent % taken !== 0) {
      throw failure(
        `${extent} steps of ${step} do not fill extent ${digit.extent} of the outer layout evenly`,
      )
    }
    digit.reach += digit.extent - step
    out.push({ extent: taken, stride: step * digit.stride })
    extent /= taken
    step = 1
  }
  throw failure('the inner layout reaches beyond the outer one')
}

/** The single mode that the steps make if no digit of the flat index ever carries into the next, else undefined. */
function withoutCarry(digits: readonly Digit[], extent: number, step: number): Mode | undefined {
  let stride = 0
  const reaches = digits.map((digit) => {
    const part = step % digit.extent
    step = Math.floor(step / digit.extent)
    stride += part * digit.stride
    return (extent - 1) * part
  })
  if (step > 0 || reaches.some((reach, i) => reach >= digits[i]!.extent)) return undefined
  for (const [i, reach] of reaches.entries()) digits[i]!.reach += reach
  return { extent, stride }
}

const failure = (condition: string): LayoutError => new LayoutError('compose', [], condition)
