import { gaps } from './complement.ts'
import { during, LayoutError } from './error.ts'
import type { Layout } from './layout.ts'
import { layout } from './layout.ts'
import type { Mode } from './modes.ts'
import { coalesceModes, flatModes, tupleOfModes } from './modes.ts'

/**
 * The longest layout `R` with `l(R(i)) = i`: for each offset from 0 up to the first hole, a flat index of `l` that
 * leads to it. `size(R)` is the length of the run of offsets from 0 that `l` covers mode by mode.
 *
 * @throws LayoutError if `l` is swizzled.
 */
export function rightInverse(l: Layout): Layout {
  if (l.swizzle) throw new LayoutError('rightInverse', [l], 'a swizzled layout has no inverse among layouts')
  return invert(flatModes(l.shape, l.stride))
}

/**
 * The layout `R` with `R(l(i)) = i` for every flat index `i` of `l`.
 *
 * @throws LayoutError if `l` sends two coordinates to one offset, if its modes interleave, or if it is swizzled.
 */
export function leftInverse(l: Layout): Layout {
  return during('leftInverse', [l], () => {
    const modes = flatModes(l.shape, l.stride)
    const repeated = modes.find((m) => m.extent > 1 && m.stride === 0)
    if (repeated) {
      throw new LayoutError(
        'leftInverse',
        [],
        `mode ${repeated.extent}:0 sends all its coordinates to one offset`,
      )
    }
    const holes = gaps(l)
    if (holes.padding) throw new LayoutError('leftInverse', [], holes.padding)
    return invert([...modes, ...holes.modes])
  })
}

/** Modes taken in the order of their strides as long as each starts where the one before it ends. */
function invert(modes: readonly Mode[]): Layout {
  let index = 1
  const indexed = modes.map((m) => {
    const entry = { ...m, index }
    index *= m.extent
    return entry
  })
  const taken: Mode[] = []
  let next = 1
  for (const m of indexed.filter((m) => m.extent > 1).sort((a, b) => a.stride - b.stride)) {
    if (m.stride !== next) continue
    taken.push({ extent: m.extent, stride: m.index })
    next = m.extent * m.stride
  }
  const { shape, stride } = tupleOfModes(coalesceModes(taken))
  return layout(shape, stride)
}
