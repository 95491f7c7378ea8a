import type { IntTuple } from './int-tuple.ts'
import { leaves } from './int-tuple.ts'

/** One flat mode of a layout: `extent` coordinates, `stride` offsets apart. */
export interface Mode {
  readonly extent: number
  readonly stride: number
}

/** The modes of a nested shape and stride, left to right. */
export function flatModes(shape: IntTuple, stride: IntTuple): Mode[] {
  const strides = leaves(stride)
  return leaves(shape).map((extent, i) => ({ extent, stride: strides[i]! }))
}

/**
 * The fewest modes that are the same function of a flat index: modes of extent 1 go, and a mode that goes on where
 * the one before it ends is joined to it.
 */
export function coalesceModes(modes: readonly Mode[]): Mode[] {
  const out: Mode[] = []
  for (const mode of modes) {
    if (mode.extent === 1) continue
    const last = out.at(-1)
    if (last && mode.stride === last.extent * last.stride) {
      out[out.length - 1] = { extent: last.extent * mode.extent, stride: last.stride }
    } else out.push(mode)
  }
  return out
}

/** Modes as a shape and a stride: none is `1:0`, one is bare, several are a tuple. */
export function tupleOfModes(modes: readonly Mode[]): { shape: IntTuple; stride: IntTuple } {
  if (modes.length === 0) return { shape: 1, stride: 0 }
  if (modes.length === 1) return { shape: modes[0]!.extent, stride: modes[0]!.stride }
  return { shape: modes.map((m) => m.extent), stride: modes.map((m) => m.stride) }
}
