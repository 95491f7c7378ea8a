import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { allocateShared } from '../../../../codegen/ir/passes/allocate-shared.ts'
import { Refusal } from '../../../../codegen/ir/refusal.ts'
import { targets } from '../../../../codegen/target.ts'
import { checkPass } from '../../../support/check-pass.ts'
import { parseIr } from '../../../support/parse-ir.ts'

const test = suite('allocateShared')

const kernel = (bytes: number) =>
  parseIr(`kernel k() block 128x1x1 {
    shared 0 flags: 6 bytes, align 4
    shared 1 tile: ${bytes} bytes, align 128
    shared 2 row: 40 bytes, align 16
    %0: u32 = sharedAddress variable=0
    %1: u32 = sharedAddress variable=1
    %2: u32 = sharedAddress variable=2
  }`)

test('every variable has its alignment and its own bytes in one window', () => {
  const { ir, bytes, align } = allocateShared(kernel(1000), targets.sm_80)
  const offsets = ir.body.flatMap((node) =>
    node.kind === 'instruction' && node.op === 'add' && node.args[1]!.kind === 'immediate'
      ? [node.args[1]!.value]
      : [],
  )
  assert.equal(offsets, [1048, 0, 1008])
  assert.is(bytes, 1054)
  assert.is(align, 128)
})

test('a kernel without shared memory needs none', () => {
  checkPass((ir) => allocateShared(ir, targets.sm_80).ir, 'barrier', 'barrier')
  assert.is(allocateShared(parseIr('kernel k() block 1x1x1 {\n}'), targets.sm_80).bytes, 0)
})

test('what is beyond the target is refused, with every variable and its size', () => {
  try {
    allocateShared(kernel(200_000), targets.sm_86)
    assert.unreachable()
  } catch (error) {
    assert.instance(error, Refusal)
    const { code, message, context } = error as Refusal
    assert.is(code, 'E0601')
    assert.match(message, 'needs 200046 bytes of shared memory, and a CTA of sm_86 has 101376')
    assert.equal(
      context.notes?.map((note) => note.message),
      ['tile takes 200000 bytes', 'row takes 40 bytes', 'flags takes 6 bytes'],
    )
  }
  assert.is(allocateShared(kernel(200_000), targets.sm_90a).bytes, 200_046)
})

test.run()
