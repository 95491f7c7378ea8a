import { suite } from 'uvu'
import { eliminateCommon } from '../../../../codegen/ir/passes/eliminate-common.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'

const test = suite('eliminateCommon')

test('the same operation on the same arguments is computed once, in either order when it commutes', () => {
  checkPass(
    eliminateCommon,
    `%2: i32 = special name=tid.x
     %3: i32 = add %1, %2
     %4: i32 = add %2, %1
     %5: i32 = sub %1, %2
     %6: i32 = sub %2, %1
     %7: i32 = special name=tid.x
     %8: i32 = mad %1, %2, %3
     %9: i32 = mad %2, %1, %3`,
    `%2: i32 = special name=tid.x
     %3: i32 = add %1, %2
     %4: i32 = move %3
     %5: i32 = sub %1, %2
     %6: i32 = sub %2, %1
     %7: i32 = move %2
     %8: i32 = mad %1, %2, %3
     %9: i32 = move %8`,
  )
})

test('attributes, types and the sign of zero tell expressions apart', () => {
  checkUnchanged(
    eliminateCommon,
    `%2: i32 = shr arithmetic=true %1, 3:u32
     %3: i32 = shr arithmetic=false %1, 3:u32
     %4: u32 = bitcast %1
     %5: f32 = bitcast %1
     %6: f32 = add %5, 0:f32
     %7: f32 = add %5, -0:f32`,
  )
})

test('loads and shuffles are not shared', () => {
  checkUnchanged(
    eliminateCommon,
    `%2: i32 = load space=global %0
     %3: i32 = load space=global %0
     %4: i32 = shuffle mode=xor %2, 1:i32
     %5: i32 = shuffle mode=xor %2, 1:i32`,
  )
})

test('a variable is the same argument until it is written', () => {
  checkPass(
    eliminateCommon,
    `%2: i32 = move 1:i32
     %3: i32 = add %2, %1
     %4: i32 = add %2, %1
     %2: i32 = move 2:i32
     %5: i32 = add %2, %1`,
    `%2: i32 = move 1:i32
     %3: i32 = add %2, %1
     %4: i32 = move %3
     %2: i32 = move 2:i32
     %5: i32 = add %2, %1`,
  )
})

test('an expression of a branch is unknown behind it, one before it is known inside', () => {
  checkPass(
    eliminateCommon,
    `%2: bool = compare relation=lt %1, 0:i32
     %3: i32 = add %1, 1:i32
     if %2 {
       %4: i32 = add %1, 1:i32
       %5: i32 = add %1, 2:i32
     } else {
       %6: i32 = add %1, 2:i32
     }
     %7: i32 = add %1, 2:i32`,
    `%2: bool = compare relation=lt %1, 0:i32
     %3: i32 = add %1, 1:i32
     if %2 {
       %4: i32 = move %3
       %5: i32 = add %1, 2:i32
     } else {
       %6: i32 = add %1, 2:i32
     }
     %7: i32 = add %1, 2:i32`,
  )
})

test('a variable of a loop is another argument in it', () => {
  checkUnchanged(
    eliminateCommon,
    `%2: i32 = move 0:i32
     %3: i32 = add %2, 5:i32
     loop {
       %4: i32 = add %2, 5:i32
       %5: bool = compare relation=ge %4, %1
       if %5 {
         break
       }
     } step {
       %2: i32 = add %2, 1:i32
     }
     %6: i32 = add %2, 5:i32`,
  )
})

test('the step knows what the body computed, unless a continue may have left it out', () => {
  const loop = (jump: string, step: string) => `%2: i32 = move 0:i32
     loop {
       %3: bool = compare relation=ge %2, 9:i32
       if %3 {
         ${jump}
       }
       %4: i32 = add %2, %1
     } step {
       %5: i32 = ${step}
       %2: i32 = move %5
     }`
  checkPass(eliminateCommon, loop('break', 'add %2, %1'), loop('break', 'move %4'))
  checkUnchanged(eliminateCommon, loop('continue', 'add %2, %1'))
})

test.run()
