import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Arithmetic } from '../../../dsl/layout/index.ts'
import {
  layout,
  offsetPlan,
  offsetTables,
  parseLayout,
  swizzled,
  xorSwizzle,
} from '../../../dsl/layout/index.ts'
import { anyLayout, coordOf, offsets, refusal, swizzledLayout } from '../../support/layouts.ts'

/** A value that is not a number, as registers are, and the operations that made it. */
interface Traced {
  readonly value: number
  readonly text: string
}

const traced: Arithmetic<Traced> = {
  constant: (v) => ({ value: v, text: `${v}` }),
  add: (a, b) => ({ value: a.value + b.value, text: `${a.text} + ${b.text}` }),
  mul: (a, by) => ({ value: a.value * by, text: `(${a.text})*${by}` }),
  div: (a, by) => ({ value: Math.floor(a.value / by), text: `(${a.text})/${by}` }),
  mod: (a, by) => ({ value: a.value % by, text: `(${a.text})%${by}` }),
  and: (a, mask) => ({ value: a.value & mask, text: `(${a.text})&${mask}` }),
  shiftRight: (a, bits) => ({ value: a.value >>> bits, text: `(${a.text})>>${bits}` }),
  xor: (a, b) => ({ value: a.value ^ b.value, text: `(${a.text}) ^ (${b.text})` }),
}
const register = (value: number, text = 'x'): Traced => ({ value, text })

test('register coordinates give the same offsets as numbers: flat, per mode, nested, and mixed with numbers', () => {
  const flip = fc.array(fc.boolean(), { minLength: 3, maxLength: 3 })
  fc.assert(
    fc.property(fc.oneof(anyLayout, swizzledLayout), flip, (l, known) => {
      for (let i = 0; i < l.size; i += 1 + (i % 3)) {
        assert.is(l.apply([register(i)], traced).value, l(i))
        const coord = coordOf(l.shape, i)
        if (!Array.isArray(coord)) continue
        const mixed = coord.map((c, m) => (typeof c !== 'number' || known[m] ? c : register(c)))
        assert.is(l.apply(mixed, traced).value, l(i))
      }
    }),
  )
})

test('the plan states every offset: digit times stride, then the swizzle', () => {
  fc.assert(
    fc.property(fc.oneof(anyLayout, swizzledLayout), (l) => {
      const plan = offsetPlan(l)
      assert.is(plan.modes.length, l.rank)
      const flat = offsetPlan({ shape: [l.shape], stride: [l.stride], swizzle: l.swizzle }).modes[0]!
      for (let i = 0; i < l.size; i++) {
        const sum = flat.reduce((n, t) => n + (Math.floor(i / t.divisor) % t.modulus) * t.stride, 0)
        assert.is(plan.swizzle ? sum ^ ((sum & plan.swizzle.mask) >> plan.swizzle.shift) : sum, l(i))
        for (const t of flat) if (!t.wraps) assert.ok(Math.floor(i / t.divisor) < t.modulus)
      }
    }),
  )
})

test('digits at powers of two cost a mask and at most one move; others a division and a remainder', () => {
  const text = (id: string) => parseLayout(id).apply([register(0)], traced).text
  assert.is(text('(8,4):(1,8)'), 'x')
  assert.is(text('8:4'), '(x)*4')
  assert.is(text('(4,8):(8,1)'), '((x)&3)*8 + (x)>>2')
  assert.is(text('(2,4,2):(8,2,1)'), '((x)&1)*8 + (x)&6 + (x)>>3')
  assert.is(text('(2,8):(0,2)'), '(x)&14')
  assert.is(text('(3,5):(5,1)'), '((x)%3)*5 + (x)/3')
  assert.is(text('(4,3,2):(6,2,1)'), '((x)&3)*6 + (((x)>>2)%3)*2 + (x)/12')
  assert.is(text('(1,1):(3,9)'), '0')
})

test('known parts fold into one constant that is added before the swizzle', () => {
  const l = swizzled(layout([8, 16], [16, 1]), xorSwizzle(2, 2, 2))
  const offset = l.apply([3, register(5)], traced)
  assert.is(offset.text, '(x + 48) ^ (((x + 48)&48)>>2)')
  assert.is(offset.value, l(3, 5))
})

test('a number out of range is refused among registers too', () => {
  const l = layout([8, 16])
  assert.match(refusal(() => l.apply([8, register(0)], traced)).condition, 'from 0 to 7')
  assert.match(refusal(() => l.apply([register(0), register(0), register(0)], traced)).condition, '3 parts')
})

test('offset tables add up to the offsets, and are refused for a swizzle', () => {
  fc.assert(
    fc.property(anyLayout, (l) => {
      const tables = offsetTables(l)
      const sums = offsets(l).map((_, i) => {
        let index = i
        return tables.reduce((sum, table) => {
          const part = table[index % table.length]!
          index = Math.floor(index / table.length)
          return sum + part
        }, 0)
      })
      assert.equal(sums, offsets(l))
    }),
  )
  const l = swizzled(layout([8, 16], [16, 1]), xorSwizzle(2, 2, 2))
  assert.match(refusal(() => offsetTables(l)).condition, 'swizzled')
})

test.run()
