import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lower, Refusal } from '../../../codegen/ir/index.ts'
import type { KernelIr, Register, ValueType } from '../../../codegen/ir/op.ts'
import { ops } from '../../../codegen/ir/spec.ts'
import { asyncOps } from '../../../codegen/ir/spec-async.ts'
import { warpgroupOps } from '../../../codegen/ir/spec-warpgroups.ts'
import { immediate, valueBits } from '../../../codegen/ir/value.ts'
import { verify } from '../../../codegen/ir/verify.ts'
import { type TargetName, targets } from '../../../codegen/target.ts'
import { IrBuilder } from '../../support/build-ir.ts'
import { emitForm, formsOf, type OpForm } from '../../support/ir-forms.ts'
import { assemble } from '../../support/ptxas.ts'

const test = suite('ptx instructions')

/** One kernel with the given forms of operations. */
function kernelOf(forms: readonly OpForm[]): KernelIr {
  const b = new IrBuilder('every_form', [128, 1, 1], { file: 'forms.ts', line: 1, column: 1 })
  b.param('x', 'address')
  if (forms.some(({ op }) => op === 'tensorMap')) b.tensorMap('map')
  b.shared('tile', 4096, 128)
  const registers = new Map<ValueType, Register>()
  for (const type of Object.keys(valueBits) as ValueType[])
    registers.set(type, b.value('move', type, [immediate(type, 1)]))
  for (const form of forms) emitForm(b, form, registers)
  return b.finish()
}

const lowered = (forms: readonly OpForm[], target: TargetName): string =>
  lower(kernelOf(forms), targets[target], { optimize: false }).ptx

/** Every form that the grammar allows of an operation. */
const everyForm = (op: string): OpForm[] =>
  [...formsOf(op)].filter(({ results }) => op !== 'param' || results[0] === 'address')

const isThere = (forms: readonly OpForm[], target: TargetName): boolean => {
  try {
    lowered(forms, target)
    return true
  } catch (error) {
    if (error instanceof Refusal && error.code === 'E0604') return false
    throw error
  }
}

/** The forms of an operation that a target has. */
function formsFor(op: string, target: TargetName): OpForm[] {
  const forms = everyForm(op)
  return isThere(forms, target) ? forms : forms.filter((form) => isThere([form], target))
}

for (const name of Object.keys(targets) as TargetName[]) {
  test(`every form of every operation that ${name} has assembles for it`, () => {
    const forms = Object.keys(ops).flatMap((op) => formsFor(op, name))
    verify(kernelOf(forms))
    // In one kernel with the copies, `prefetch.tensormap` crashes ptxas 13.0 for sm_120a.
    const isPrefetch = ({ op }: OpForm) => op === 'prefetchTensor'
    assemble(
      lowered(
        forms.filter((form) => !isPrefetch(form)),
        name,
      ),
      name,
    )
    assemble(lowered(forms.filter(isPrefetch), name), name)
  })
}

test('the copy engine and warpgroups are for sm_90a, and the copy engine for what follows', () => {
  const lacks = (target: TargetName) => Object.keys(ops).filter((op) => formsFor(op, target).length === 0)
  const hopper = [...Object.keys(asyncOps), ...Object.keys(warpgroupOps)]
  const everywhere = ['tensorMap', 'cachePolicy', 'matrixDescriptor', 'namedBarrier', 'namedArrive']
  assert.equal(lacks('sm_80').sort(), hopper.filter((op) => !everywhere.includes(op)).sort())
  assert.equal(lacks('sm_90a'), [])
  assert.equal(lacks('sm_100a').sort(), ['wgmma', 'wgmmaCommit', 'wgmmaFence', 'wgmmaWait'])
})

test('the lowest version that the target allows is declared', () => {
  const versions = (Object.keys(targets) as TargetName[]).map((name) => {
    const [, version] = /^\.version (.*)$/m.exec(lowered(everyForm('add'), name))!
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
