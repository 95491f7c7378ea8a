import { type Test, test } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmulator } from '../../runtime/emulator/device.ts'
import { siluMulCase } from '../kernels/cases/rows.ts'
import { caseName, isNamed, someOf, testCases } from './gpu-cases.ts'

test('cases run in order, made shortly before their turn, and one that cannot be made fails alone', async () => {
  const device = openEmulator()
  const handlers = new Map<string, () => Promise<void>>()
  const noted = ((name: string, handler: () => Promise<void>) =>
    handlers.set(name, handler)) as unknown as Test
  const made: number[] = []
  const cases = Array.from({ length: 20 }, (_, i) => ({
    name: `case ${i}`,
    make() {
      made.push(i)
      if (i === 3) throw new Error('no such case')
      const c = siluMulCase({ T: 1 + i, H: 8 * (1 + (i % 3)), dtype: 'f16', seed: i })
      const refuse = () => assert.unreachable('refused')
      return i === 5 ? { ...c, check: refuse } : c
    },
  }))
  testCases(noted, device, cases)
  const failures: string[] = []
  for (const [name, handler] of handlers) {
    await handler().catch((error: Error) => failures.push(`${name}: ${error.message}`))
    if (name === 'case 0') assert.equal(made, [0, 1, 2, 3, 4, 5, 6, 7, 8], 'not all at once')
  }
  assert.equal(made, [...cases.keys()])
  assert.equal(failures, ['case 3: no such case', 'case 5: refused'])
  await device.close()
})

test('a name has the options that are set', () => {
  assert.is(caseName('f', { M: 3, bias: false, zero: undefined, tiles: { a: 1 } }), 'f M=3 tiles={"a":1}')
})

test('every n-th case is left where a number is given', () => {
  assert.equal(someOf([0, 1, 2, 3, 4, 5, 6], '3'), [0, 3, 6])
  assert.equal(someOf([0, 1], undefined), [0, 1])
  assert.equal(someOf([0, 1], 'none'), [0, 1])
})

test('names are chosen by a regular expression where there is one', () => {
  const names = ['V=7 f16', 'V=300 f16', 'V=300 f32']
  const chosen = (pattern?: string) => names.filter((name) => isNamed(name, pattern))
  assert.equal(chosen('V=300'), ['V=300 f16', 'V=300 f32'])
  assert.equal(chosen('V=7|f32'), ['V=7 f16', 'V=300 f32'])
  assert.equal(chosen(), names)
})

test.run()
