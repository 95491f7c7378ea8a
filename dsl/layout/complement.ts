import { during, LayoutError } from './error.ts'
import type { Layout } from './layout.ts'
import { layout } from './layout.ts'
import type { Mode } from './modes.ts'
import { coalesceModes, flatModes, tupleOfModes } from './modes.ts'

/**
 * The layout of the repetitions of `l` that together fill the offsets below `cotarget`: every such offset is
 * `l(i) + complement(i')` for exactly one `i'` and one offset of `l`. Its strides increase, so it is unique.
 *
 * @throws LayoutError if `cotarget` is not a multiple of the span of `l`, if modes of `l` overlap or interleave
 *   (stride-0 modes are ignored: they add no offsets), or if `l` is swizzled.
 */
export function complement(l: Layout, cotarget: number): Layout {
  return during('complement', [l, cotarget], () => {
    const { modes, span, padding } = gaps(l)
    if (padding) throw failure(padding)
    if (!Number.isInteger(cotarget) || cotarget < 1) throw failure('the cotarget must be a positive integer')
    if (cotarget % span !== 0) {
      throw failure(
        `${cotarget} offsets are not a whole number of repetitions of a layout that spans ${span}`,
      )
    }
    const { shape, stride } = tupleOfModes(
      coalesceModes([...modes, { extent: cotarget / span, stride: span }]),
    )
    return layout(shape, stride)
  })
}

/** What lies between and beyond the elements of a layout. */
export interface Gaps {
  /** Modes that lead to further copies of the layout inside its holes. */
  readonly modes: Mode[]
  /** Offsets that the layout and those copies spread over. */
  readonly span: number
  /** Why some offsets below `span` are left out, if any are. */
  readonly padding: string | undefined
}

/** @throws LayoutError if modes of `l` overlap or interleave, or if it is swizzled. */
export function gaps(l: Layout): Gaps {
  if (l.swizzle)
    throw failure('a swizzled layout has no complement; take that of the layout before its swizzle')
  const modes: Mode[] = []
  let span = 1
  let padding: string | undefined
  const steps = flatModes(l.shape, l.stride).filter((m) => m.extent > 1 && m.stride > 0)
  for (const { extent, stride } of steps.sort((a, b) => a.stride - b.stride)) {
    if (stride < span)
      throw failure(`mode ${extent}:${stride} starts inside the ${span} offsets of the modes before it`)
    if (stride % span !== 0)
      padding ??= `stride ${stride} is not a multiple of ${span}, the span of smaller strides`
    modes.push({ extent: Math.floor(stride / span), stride: span })
    span = extent * stride
  }
  return { modes, span, padding }
}

const failure = (condition: string): LayoutError => new LayoutError('complement', [], condition)
