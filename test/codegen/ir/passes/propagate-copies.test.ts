import { suite } from 'uvu'
import { propagateCopies } from '../../../../codegen/ir/passes/propagate-copies.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'
import { loaded, wgmma, zeroed } from '../../../support/wgmma-ir.ts'

const test = suite('propagateCopies')

test('a snapshot of a variable is read as the variable until that is written', () => {
  checkPass(
    propagateCopies,
    `%2: i32 = move 5:i32
     %2: i32 = add %2, %1
     %3: i32 = move %2
     %4: i32 = add %3, 1:i32
     %2: i32 = add %3, 2:i32
     %5: i32 = add %3, 3:i32`,
    `%2: i32 = move 5:i32
     %2: i32 = add 5:i32, %1
     %3: i32 = move %2
     %4: i32 = add %2, 1:i32
     %2: i32 = add %2, 2:i32
     %5: i32 = add %3, 3:i32`,
  )
})

test('a variable is read as what was moved into it', () => {
  checkPass(
    propagateCopies,
    `%2: i32 = move 0:i32
     %3: i32 = add %1, 4:i32
     %2: i32 = move %3
     store space=global %0, %2`,
    `%2: i32 = move 0:i32
     %3: i32 = add %1, 4:i32
     %2: i32 = move %3
     store space=global %0, %3`,
  )
})

test('what a loop writes is unknown in it and behind it', () => {
  checkUnchanged(
    propagateCopies,
    `%2: i32 = move 0:i32
     loop {
       %3: bool = compare relation=ge %2, %1
       if %3 {
         break
       }
     } step {
       %2: i32 = add %2, 1:i32
     }
     store space=global %0, %2`,
  )
})

test('what one branch writes is unknown behind the if, and not known in the other', () => {
  checkPass(
    propagateCopies,
    `%2: i32 = move 7:i32
     %3: bool = compare relation=lt %1, 3:i32
     if %3 {
       %2: i32 = move 8:i32
       store space=global %0, %2
     } else {
       store space=global %0, %2
     }
     store space=global %0, %2`,
    `%2: i32 = move 7:i32
     %3: bool = compare relation=lt %1, 3:i32
     if %3 {
       %2: i32 = move 8:i32
       store space=global %0, 8:i32
     } else {
       store space=global %0, 7:i32
     }
     store space=global %0, %2`,
  )
})

test('the step does not know what a continue may have left out', () => {
  const body = (jump: string, step: string) => `%2: i32 = move 0:i32
     loop {
       %3: bool = compare relation=ge %2, %1
       if %3 {
         break
       }
       %4: bool = compare relation=lt %2, 3:i32
       if %4 {
         ${jump}
       }
       %5: i32 = move 9:i32
       %2: i32 = move 9:i32
     } step {
       ${step}
     }`
  checkUnchanged(propagateCopies, body('continue', '%2: i32 = add %2, 1:i32'))
  checkPass(
    propagateCopies,
    body('break', '%2: i32 = add %2, 1:i32'),
    body('break', '%2: i32 = add 9:i32, 1:i32'),
  )
})

test('an accumulator stays its register, whatever it is known to hold; A is read through copies', () => {
  checkPass(
    propagateCopies,
    `${zeroed(20)}
     ${loaded(30)}
     %40: u32 = move %30
     wgmmaFence
     ${wgmma(20, 30).replace('%30, %31', '%40, %31')}
     wgmmaCommit
     wgmmaWait pending=0`,
    `${zeroed(20)}
     ${loaded(30)}
     %40: u32 = move %30
     wgmmaFence
     ${wgmma(20, 30)}
     wgmmaCommit
     wgmmaWait pending=0`,
  )
})

test.run()
