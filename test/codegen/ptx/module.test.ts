import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lower, Refusal } from '../../../codegen/ir/index.ts'
import type { Location } from '../../../codegen/ir/op.ts'
import { immediate } from '../../../codegen/ir/value.ts'
import { Writer } from '../../../codegen/ptx/writer.ts'
import { type TargetName, targets } from '../../../codegen/target.ts'
import { IrBuilder } from '../../support/build-ir.ts'
import { assemble } from '../../support/ptxas.ts'

const test = suite('ptx module')

const kernelLine: Location = { file: 'kernels/a.ts', line: 3, column: 5 }

/** A kernel that stores once at each location. */
function storing(locations: readonly Location[], limits = {}) {
  const b = new IrBuilder('storing', [64, 2, 1], kernelLine)
  const x = b.param('x', 'address')
  for (const [i, location] of locations.entries()) {
    b.location = location
    b.emit('store', [], [x, immediate('i32', i)], { space: 'global', offset: 4 * i })
  }
  return b.finish(limits)
}

const locs = (ptx: string): string[] =>
  ptx
    .split('\n')
    .filter((line) => line.startsWith('  .loc'))
    .map((line) => line.trim())

const version = (ptx: string): string => /^\.version (.*)$/m.exec(ptx)![1]!

test('the entry has its block and the limits that were given', () => {
  const { ptx } = lower(
    storing([kernelLine], { maxRegisters: 64, blocksPerMultiprocessor: 2 }),
    targets.sm_90a,
  )
  assert.match(
    ptx,
    '.visible .entry storing(\n  .param .u64 param_0\n)\n.reqntid 64, 2, 1\n.maxnreg 64\n.minnctapersm 2\n{',
  )
  assemble(ptx, 'sm_90a')
  const plain = lower(storing([kernelLine]), targets.sm_90a).ptx
  assert.not.match(plain, 'maxnreg')
  assert.not.match(plain, 'minnctapersm')
  assert.not.match(plain, 'shared')
})

test('a position is given once until it changes', () => {
  const next = { ...kernelLine, line: 4 }
  const { ptx, files } = lower(
    storing([kernelLine, { ...kernelLine }, next, next, kernelLine]),
    targets.sm_80,
  )
  assert.equal(locs(ptx), ['.loc 1 3 5', '.loc 1 4 5', '.loc 1 3 5'])
  assert.match(ptx, '.file 1 "kernels/a.ts"')
  assert.equal(files, ['kernels/a.ts'])
  assert.is(version(ptx), '7.0')
  assemble(ptx, 'sm_80')
})

test('an inlined position names the function and the call, whose own position comes first', () => {
  const call = { file: 'kernels/a.ts', line: 9, column: 2 }
  const inner = { file: 'dsl/std/tile.ts', line: 30, column: 4, inlined: { callee: 'copyTile', at: call } }
  const innermost = {
    file: 'dsl/std/bytes.ts',
    line: 7,
    column: 1,
    inlined: { callee: 'bytesOf', at: inner },
  }
  const { ptx, files } = lower(storing([innermost, inner, kernelLine]), targets.sm_80)
  assert.equal(locs(ptx), [
    '.loc 1 3 5',
    '.loc 1 9 2',
    '.loc 2 30 4, function_name $name0, inlined_at 1 9 2',
    '.loc 3 7 1, function_name $name1, inlined_at 2 30 4',
    '.loc 2 30 4, function_name $name0, inlined_at 1 9 2',
    '.loc 1 3 5',
  ])
  assert.equal(files, ['kernels/a.ts', 'dsl/std/tile.ts', 'dsl/std/bytes.ts'])
  assert.match(ptx, '$name0:\n  .b8 99,111,112,121,84,105,108,101,0')
  assert.is(version(ptx), '7.2')
  assemble(ptx, 'sm_80')
})

test('float constants keep their bits', () => {
  const b = new IrBuilder('constants', [1, 1, 1], kernelLine)
  const x = b.param('x', 'address')
  const store = (...values: ReturnType<typeof immediate>[]) =>
    b.emit('store', [], [x, ...values], { space: 'global' })
  store(immediate('f32', 0.1), immediate('f32', -0))
  store(immediate('f32', Number.NEGATIVE_INFINITY), immediate('f32', 2 ** -149))
  store(immediate('f16', 0.1), immediate('f16', -65504))
  store(immediate('bf16', 0.1), immediate('bf16', -0))
  store(immediate('i32', -1), immediate('i32', -(2 ** 31)))
  store(immediate('u32', 2 ** 32 - 1), immediate('u32', 7))
  const { ptx } = lower(b.finish(), targets.sm_80)
  assemble(ptx, 'sm_80')
  assert.equal(
    [...ptx.matchAll(/st\.global\S* \[%rd1\], (.*);/g)].map(([, values]) => values),
    [
      '{0f3DCCCCCD, 0f80000000}',
      '{0fFF800000, 0f00000001}',
      '{0x2e66, 0xfbff}',
      '{0x3dcd, 0x8000}',
      '{-1, -2147483648}',
      '{4294967295, 7}',
    ],
  )
})

test('sums of bf16 are one fused operation where the target has no other', () => {
  const lines = (name: TargetName): string[] => {
    const b = new IrBuilder('sums', [1, 1, 1], kernelLine)
    const x = b.param('x', 'address')
    const [a, c] = b.values('load', ['bf16x2', 'bf16x2'], [x], { space: 'global' })
    const results = ['add', 'sub', 'mul'].map((op) => b.value(op, 'bf16x2', [a!, c!]))
    b.emit('store', [], [x, results[0]!, results[1]!, results[2]!, results[0]!], { space: 'global' })
    const { ptx } = lower(b.finish(), targets[name])
    assemble(ptx, name)
    return ptx.split('\n').map((line) => line.trim())
  }
  const old = lines('sm_89')
  const constants = Object.fromEntries(
    old.flatMap((line) =>
      [...line.matchAll(/^mov\.b32 (%r\d+), (0x\w+);/g)].map(([, name, bits]) => [name, bits]),
    ),
  )
  const fused = old
    .filter((line) => line.startsWith('fma.rn.bf16x2'))
    .map((line) => line.replaceAll(/%r\d+/g, (name) => constants[name] ?? name).replace(/^\S+ \S+ /, ''))
  assert.equal(fused, ['%r1, 0x3f803f80, %r2;', '%r2, 0xbf80bf80, %r1;', '%r1, %r2, 0x80008000;'])
  assert.equal(lines('sm_90a').filter((line) => /^(add|sub|mul)\.rn\.bf16x2/.test(line)).length, 3)
})

test('an instruction that the target lacks is refused with its position', () => {
  const w = new Writer(targets.sm_80)
  w.at(kernelLine)
  try {
    w.line('add.rn.bf16x2', '%r1', '%r2', '%r3')
    assert.unreachable()
  } catch (error) {
    assert.instance(error, Refusal)
    const { code, message, context } = error as Refusal
    assert.is(code, 'E0604')
    assert.is(message, 'add.rn.bf16x2 needs compute capability 9.0, and sm_80 has 8.0')
    assert.equal(context.location, kernelLine)
  }
})

test('a mnemonic outside the table, or with other operands, is a fault of the compiler', () => {
  const w = new Writer(targets.sm_90a)
  assert.throws(() => w.line('add.rz.f32', 'a', 'b', 'c'), 'no instruction add.rz.f32')
  assert.throws(() => w.line('add.s32', 'a', 'b'), 'add.s32 with 2 operands')
})

test('an instruction raises the version that the target would do with', () => {
  const w = new Writer(targets.sm_90a)
  assert.is(w.version(), '8.0')
  const old = new Writer({ ...targets.sm_80, capability: 90 })
  old.line('add.s32', 'a', 'b', 'c')
  assert.is(old.version(), '7.0')
  old.line('add.rn.bf16', 'a', 'b', 'c')
  assert.is(old.version(), '7.8')
})

test.run()
