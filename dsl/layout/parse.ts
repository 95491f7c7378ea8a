import { LayoutError } from './error.ts'
import type { IntTuple } from './int-tuple.ts'
import type { Layout } from './layout.ts'
import { layout } from './layout.ts'
import { xorSwizzle } from './swizzle.ts'

/** The layout of an id such as `((8,2),4):((1,16),8)`. @throws LayoutError if the text is not an id. */
export function parseLayout(id: string): Layout {
  const match = /^(?:Sw<(\d+),(\d+),(\d+)>o)?([^:]+):([^:]+)$/.exec(id)
  if (!match) throw new LayoutError('parseLayout', [id], 'an id reads shape:stride, as in (8,2):(1,8)')
  const [, bits, base, shift, shape, stride] = match
  const swizzle = bits === undefined ? undefined : xorSwizzle(Number(bits), Number(base), Number(shift))
  return layout(parseTuple(shape!, id), parseTuple(stride!, id), swizzle)
}

function parseTuple(text: string, id: string): IntTuple {
  let at = 0
  const fail = () => new LayoutError('parseLayout', [id], `unexpected '${text[at] ?? 'end'}' in '${text}'`)
  const tuple = (): IntTuple => {
    const digits = /^\d+/.exec(text.slice(at))
    if (digits) {
      at += digits[0].length
      return Number(digits[0])
    }
    if (text[at] !== '(') throw fail()
    const parts: IntTuple[] = []
    do {
      at++
      parts.push(tuple())
    } while (text[at] === ',')
    if (text[at] !== ')') throw fail()
    at++
    return parts
  }
  const result = tuple()
  if (at !== text.length) throw fail()
  return result
}
