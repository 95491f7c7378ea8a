import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { lower } from '../../../codegen/ir/index.ts'
import { targets } from '../../../codegen/target.ts'
import { kernelOf, parseIr } from '../../support/parse-ir.ts'
import { assemble } from '../../support/ptxas.ts'

const test = suite('ptx control')

/** The instructions and labels of a body, without those of `kernelOf` and without `.loc`. */
function print(body: string): string[] {
  const { ptx } = lower(parseIr(kernelOf(body)), targets.sm_80, { optimize: false })
  assemble(ptx, 'sm_80')
  const lines = ptx
    .slice(ptx.indexOf('{'), ptx.indexOf('}\n.file'))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(\{|\.)/.test(line))
  return lines.slice(3)
}

const parted = `%2: i32 = special name=tid.x
  %3: bool = compare relation=lt %2, %1`

test('a small if is guarded', () => {
  assert.equal(
    print(`${parted}
      if %3 {
        %4: i32 = add %2, 1:i32
        store space=global %0, %4
      }`).slice(2),
    ['@%p1 add.s32 %r3, %r2, 1;', '@%p1 st.global.b32 [%rd1], %r3;', 'ret;'],
  )
})

test('an else alone is guarded by the opposite', () => {
  assert.equal(
    print(`${parted}
      if %3 {
      } else {
        store space=global %0, %2
      }`).slice(2),
    ['@!%p1 st.global.b32 [%rd1], %r2;', 'ret;'],
  )
})

test('what writes its own condition is not guarded', () => {
  assert.equal(
    print(`%2: bool = move 1:bool
      %2: bool = compare relation=lt %1, 1:i32
      if %2 {
        %2: bool = move 0:bool
        store space=global %0, %1
      }`).slice(2),
    ['@!%p1 bra.uni $end1;', 'mov.pred %p1, 0;', 'st.global.b32 [%rd1], %r1;', '$end1:', 'ret;'],
  )
})

test('two branches, and a jump at the end of the first', () => {
  const body = (end: string) => `${parted}
      if %3 {
        store space=global %0, %2
        ${end}
      } else {
        store space=global %0, %1
      }`
  assert.equal(print(body('')).slice(2), [
    '@!%p1 bra $else1;',
    'st.global.b32 [%rd1], %r2;',
    'bra.uni $end1;',
    '$else1:',
    'st.global.b32 [%rd1], %r1;',
    '$end1:',
    'ret;',
  ])
  assert.equal(print(body('return')).slice(2), [
    '@!%p1 bra $else1;',
    'st.global.b32 [%rd1], %r2;',
    'ret;',
    '$else1:',
    'st.global.b32 [%rd1], %r1;',
    '$end1:',
    'ret;',
  ])
})

test('a branch is uniform when the condition is', () => {
  const body = (condition: string) => `${parted}
    %4: bool = ${condition}
    if %4 {
      return
    } else {
      store space=global %0, %2
    }`
  assert.equal(print(body('compare relation=lt %1, 5:i32'))[3], '@%p2 ret;')
  const jump = (condition: string) =>
    print(`${parted}
    %4: bool = ${condition}
    loop {
      store space=global %0, %2
      if %4 {
        break
      }
    }`)[5]
  assert.is(jump('compare relation=lt %1, 5:i32'), '@%p2 bra.uni $exit1;')
  assert.is(jump('vote mode=any %3'), '@%p2 bra.uni $exit1;')
  assert.is(jump('compare relation=lt %2, 5:i32'), '@%p2 bra $exit1;')
})

test('a loop that begins with its test has it once before and once at the bottom', () => {
  assert.equal(
    print(`%2: i32 = move 0:i32
      loop {
        %3: bool = compare relation=ge %2, %1
        if %3 {
          break
        }
        store space=global %0, %2
      } step {
        %2: i32 = add %2, 1:i32
      }`),
    [
      'mov.b32 %r2, 0;',
      'setp.ge.s32 %p1, %r2, %r1;',
      '@%p1 bra.uni $exit1;',
      '$loop1:',
      'st.global.b32 [%rd1], %r2;',
      'add.s32 %r2, %r2, 1;',
      'setp.ge.s32 %p1, %r2, %r1;',
      '@!%p1 bra.uni $loop1;',
      '$exit1:',
      'ret;',
    ],
  )
})

test('continue goes to the step, break behind the loop, each label only if something goes there', () => {
  assert.equal(
    print(`%2: i32 = special name=tid.x
      %3: bool = compare relation=ge %2, %1
      %4: bool = not %3
      loop {
        store space=global %0, %2
        if %3 {
          continue
        }
        if %4 {
          break
        }
      } step {
        store space=global %0, %1
      }`).slice(3),
    [
      '$loop1:',
      'st.global.b32 [%rd1], %r2;',
      '@%p1 bra $next1;',
      '@%p2 bra $exit1;',
      '$next1:',
      'st.global.b32 [%rd1], %r1;',
      'bra.uni $loop1;',
      '$exit1:',
      'ret;',
    ],
  )
})

test('a change of type between integers is another name of the register', () => {
  assert.equal(
    print(`%2: u32 = convert %1
      %3: u32 = add %2, 1:u32
      %4: i32 = bitcast %3
      store space=global %0, %4`),
    ['add.u32 %r2, %r1, 1;', 'st.global.b32 [%rd1], %r2;', 'ret;'],
  )
  assert.equal(
    print(`%2: i32 = move 0:i32
      %3: u32 = convert %2
      %2: i32 = move 1:i32
      store space=global %0, %3`).slice(1, 3),
    ['mov.b32 %r3, %r2;', 'mov.b32 %r2, 1;'],
  )
})

test.run()
