import { suite } from 'uvu'
import { joinConditions } from '../../../../codegen/ir/passes/join-conditions.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'
import { loaded, wgmma, zeroed } from '../../../support/wgmma-ir.ts'

const test = suite('joinConditions')

const product = `${zeroed(20)}
${loaded(30)}
wgmmaFence
${wgmma(20, 30)}
wgmmaCommit
wgmmaWait pending=0
%2: i32 = special name=tid.x
%3: bool = compare relation=gt %1, 3:i32`

const nested = (inside: string, outer = 'if %3 {', inner = 'if %5 {') => `${outer}
    %4: i32 = and %2, 31:i32
    %5: bool = compare relation=eq %4, 0:i32
    ${inner}
      ${inside}
    }
  }`

test('two conditions around a few instructions become one', () => {
  checkPass(
    joinConditions,
    `${product}
     ${nested('store space=global %0, %2')}`,
    `${product}
     %4: i32 = and %2, 31:i32
     %5: bool = compare relation=eq %4, 0:i32
     %34: bool = and %3, %5
     if %34 {
       store space=global %0, %2
     }`,
  )
})

test('negated ones, too', () => {
  checkPass(
    joinConditions,
    `${product}
     ${nested('store space=global %0, %2', 'if %3 {\n} else {', 'if %5 {\n} else {')}`,
    `${product}
     %4: i32 = and %2, 31:i32
     %5: bool = compare relation=eq %4, 0:i32
     %34: bool = not %3
     %35: bool = not %5
     %36: bool = and %34, %35
     if %36 {
       store space=global %0, %2
     }`,
  )
})

test('what cannot run without its condition keeps it, as do long branches', () => {
  checkUnchanged(joinConditions, `${product}\n${nested('store space=global %0, %2\n'.repeat(5))}`)
  checkUnchanged(
    joinConditions,
    `${product}
     if %3 {
       %4: i32 = load space=global %0
       %5: bool = compare relation=eq %4, 0:i32
       if %5 {
         store space=global %0, %2
       }
     }`,
  )
  checkUnchanged(
    joinConditions,
    `${product}
     %6: i32 = move 0:i32
     if %3 {
       %6: i32 = add %6, 1:i32
       %5: bool = compare relation=eq %6, 0:i32
       if %5 {
         store space=global %0, %6
       }
     }
     store space=global %0, %6`,
  )
})

test('a kernel without wgmma keeps its branches', () => {
  checkUnchanged(
    joinConditions,
    `%2: i32 = special name=tid.x
     %3: bool = compare relation=gt %1, 3:i32
     ${nested('store space=global %0, %2')}`,
  )
})

test.run()
