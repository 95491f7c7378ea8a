import { suite } from 'uvu'
import { eliminateDead } from '../../../../codegen/ir/passes/eliminate-dead.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'

const test = suite('eliminateDead')

test('what nothing reads goes, and what only that read', () => {
  checkPass(
    eliminateDead,
    `%2: i32 = add %1, 1:i32
     %3: i32 = add %2, 1:i32
     %4: i32 = load space=global %0
     store space=global %0, %1`,
    'store space=global %0, %1',
  )
})

test('stores, atomics, copies and barriers stay', () => {
  checkUnchanged(
    eliminateDead,
    `%2: u32 = sharedWindow
     %3: i32 = atomic space=global fn=add %0, 1:i32
     copyAsync bytes=16 %2, %0
     commitCopies
     waitCopies pending=0
     barrier
     syncWarp
     threadFence
     store space=shared %2, 1:i32`,
  )
})

test('a vector load stays while one of its elements is read', () => {
  checkUnchanged(
    eliminateDead,
    `%2: i32, %3: i32, %4: i32, %5: i32 = load space=global %0
     store space=global %0, %4`,
  )
})

test('a write that every path overwrites goes', () => {
  checkPass(
    eliminateDead,
    `%2: i32 = move 1:i32
     %3: bool = compare relation=lt %1, 0:i32
     if %3 {
       %2: i32 = move 2:i32
     } else {
       %2: i32 = move 3:i32
     }
     store space=global %0, %2
     %2: i32 = move 4:i32`,
    `%3: bool = compare relation=lt %1, 0:i32
     if %3 {
       %2: i32 = move 2:i32
     } else {
       %2: i32 = move 3:i32
     }
     store space=global %0, %2`,
  )
})

test('a write that one path reads stays', () => {
  checkUnchanged(
    eliminateDead,
    `%2: i32 = move 1:i32
     %3: bool = compare relation=lt %1, 0:i32
     if %3 {
       %2: i32 = move 2:i32
     }
     store space=global %0, %2`,
  )
})

test('a write that only the next iteration reads stays, and a counter that only counts goes', () => {
  const loop = (counter: string) => `%2: i32 = move 0:i32
     ${counter && '%4: i32 = move 0:i32'}
     loop {
       store space=global %0, %2
       %3: bool = compare relation=ge %2, %1
       if %3 {
         break
       }
       ${counter}
     } step {
       %2: i32 = add %2, 1:i32
     }`
  checkPass(eliminateDead, loop('%4: i32 = add %4, 1:i32'), loop(''))
})

test('what is read where a break or a continue goes is live at the jump', () => {
  checkUnchanged(
    eliminateDead,
    `%2: i32 = move 0:i32
     %4: i32 = move 0:i32
     loop {
       %3: bool = compare relation=ge %2, %1
       if %3 {
         break
       }
       %5: bool = compare relation=eq %2, 3:i32
       if %5 {
         %2: i32 = move 8:i32
         %4: i32 = move 5:i32
         continue
       }
       %2: i32 = move 9:i32
     } step {
       %2: i32 = add %2, 1:i32
     }
     store space=global %0, %4`,
  )
})

test('what stands behind a jump goes', () => {
  checkPass(
    eliminateDead,
    `%2: bool = compare relation=lt %1, 0:i32
     if %2 {
       store space=global %0, 1:i32
       return
       store space=global %0, 2:i32
     } else {
       return
     }
     store space=global %0, 3:i32`,
    `%2: bool = compare relation=lt %1, 0:i32
     if %2 {
       store space=global %0, 1:i32
       return
     } else {
       return
     }`,
  )
})

test('an if with nothing left in it goes with its condition', () => {
  checkPass(
    eliminateDead,
    `%2: bool = compare relation=lt %1, 0:i32
     if %2 {
       %3: i32 = add %1, 1:i32
     }`,
    '',
  )
})

test.run()
