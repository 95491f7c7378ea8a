import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lower } from '../../../codegen/ir/index.ts'
import type { Register, ValueType } from '../../../codegen/ir/op.ts'
import { ops } from '../../../codegen/ir/spec.ts'
import { immediate, valueBits } from '../../../codegen/ir/value.ts'
import { verify } from '../../../codegen/ir/verify.ts'
import { type TargetName, targets } from '../../../codegen/target.ts'
import { IrBuilder } from '../../support/build-ir.ts'
import { emitForm, formsOf } from '../../support/ir-forms.ts'
import { assemble } from '../../support/ptxas.ts'

const test = suite('ptx instructions')

/** One kernel with every form that the grammar allows of the given operations. */
function everyForm(names: readonly string[]) {
  const b = new IrBuilder('every_form', [128, 1, 1], { file: 'forms.ts', line: 1, column: 1 })
  b.param('x', 'address')
  b.shared('tile', 4096, 128)
  const registers = new Map<ValueType, Register>()
  for (const type of Object.keys(valueBits) as ValueType[])
    registers.set(type, b.value('move', type, [immediate(type, 1)]))
  for (const op of names) {
    for (const form of formsOf(op)) {
      if (op === 'param' && form.results[0] !== 'address') continue
      emitForm(b, form, registers)
    }
  }
  return b.finish()
}

for (const name of Object.keys(targets) as TargetName[]) {
  test(`every form of every operation assembles for ${name}`, () => {
    const ir = everyForm(Object.keys(ops))
    verify(ir)
    assemble(lower(ir, targets[name], { optimize: false }).ptx, name)
  })
}

test('the lowest version that the target allows is declared', () => {
  const versions = (Object.keys(targets) as TargetName[]).map((name) => {
    const [, version] = /^\.version (.*)$/m.exec(
      lower(everyForm(['add']), targets[name], { optimize: false }).ptx,
    )!
    return `${name} ${version}`
  })
  assert.equal(versions, [
    'sm_80 7.0',
    'sm_86 7.1',
    'sm_89 7.8',
    'sm_90a 8.0',
    'sm_100a 8.6',
    'sm_103a 8.8',
    'sm_120a 8.7',
  ])
})

test.run()
