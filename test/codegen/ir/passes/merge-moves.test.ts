import { suite } from 'uvu'
import { mergeMoves } from '../../../../codegen/ir/passes/merge-moves.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'
import { loaded, wgmma, zeroed } from '../../../support/wgmma-ir.ts'

const test = suite('mergeMoves')

test('an instruction writes the variable itself, and later reads of the temporary read the variable', () => {
  checkPass(
    mergeMoves,
    `%2: i32 = move 0:i32
     %3: i32 = add %2, %1
     store space=global offset=4 %0, %3
     %2: i32 = move %3
     store space=global %0, %3`,
    `%2: i32 = move 0:i32
     %2: i32 = add %2, %1
     store space=global offset=4 %0, %2
     store space=global %0, %2`,
  )
})

test('one element of a vector load may be the variable', () => {
  checkPass(
    mergeMoves,
    `%2: i32 = move 0:i32
     %3: i32, %4: i32 = load space=global %0
     %2: i32 = move %4
     store space=global %0, %2, %3`,
    `%2: i32 = move 0:i32
     %3: i32, %2: i32 = load space=global %0
     store space=global %0, %2, %3`,
  )
})

test('not when the variable is touched in between', () => {
  checkUnchanged(
    mergeMoves,
    `%2: i32 = move 0:i32
     %3: i32 = add %2, %1
     store space=global %0, %2
     %2: i32 = move %3`,
  )
})

test('not when a jump may leave in between', () => {
  checkUnchanged(
    mergeMoves,
    `%2: i32 = move 0:i32
     loop {
       %3: i32 = add %2, %1
       %4: bool = compare relation=lt %3, 9:i32
       if %4 {
         break
       }
       %2: i32 = move %3
     }
     store space=global %0, %2`,
  )
})

test('not when the temporary is read after the variable is written again', () => {
  checkUnchanged(
    mergeMoves,
    `%2: i32 = move 0:i32
     %3: i32 = add %2, %1
     %2: i32 = move %3
     %2: i32 = add %2, 1:i32
     store space=global %0, %3, %2`,
  )
})

test('not when a loop behind it writes the variable and reads the temporary', () => {
  checkUnchanged(
    mergeMoves,
    `%2: i32 = move 0:i32
     %3: i32 = add %2, %1
     %2: i32 = move %3
     loop {
       store space=global %0, %3
       %2: i32 = add %2, 1:i32
       %4: bool = compare relation=lt %2, 9:i32
       if %4 {
         break
       }
     }`,
  )
})

test('not when a wgmma reads the temporary, which runs on behind it', () => {
  checkUnchanged(
    mergeMoves,
    `${zeroed(20)}
     ${loaded(30)}
     %2: u32 = move 0:u32
     %2: u32 = move %33
     wgmmaFence
     ${wgmma(20, 30)}
     wgmmaCommit
     wgmmaWait pending=0
     store space=global %0, %2`,
  )
})

test.run()
