import { suite } from 'uvu'
import { hoistInvariants } from '../../../../codegen/ir/passes/hoist-invariants.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'
import { loaded, wgmma, zeroed } from '../../../support/wgmma-ir.ts'

const test = suite('hoistInvariants')

test('what does not change leaves all loops that do not change it', () => {
  checkPass(
    hoistInvariants,
    `%2: i32 = move 0:i32
     loop {
       %3: i32 = mul %1, 3:i32
       %4: i32 = move 0:i32
       loop {
         %5: i32 = add %3, 1:i32
         %6: i32 = add %2, 1:i32
         %7: i32 = add %4, %6
         %8: bool = compare relation=ge %7, %5
         if %8 {
           break
         }
       } step {
         %4: i32 = add %4, 1:i32
       }
       %9: bool = compare relation=ge %2, %3
       if %9 {
         break
       }
     } step {
       %2: i32 = add %2, 1:i32
     }`,
    `%2: i32 = move 0:i32
     %3: i32 = mul %1, 3:i32
     %5: i32 = add %3, 1:i32
     loop {
       %4: i32 = move 0:i32
       %6: i32 = add %2, 1:i32
       loop {
         %7: i32 = add %4, %6
         %8: bool = compare relation=ge %7, %5
         if %8 {
           break
         }
       } step {
         %4: i32 = add %4, 1:i32
       }
       %9: bool = compare relation=ge %2, %3
       if %9 {
         break
       }
     } step {
       %2: i32 = add %2, 1:i32
     }`,
  )
})

test('loads, constants, comparisons and writes of variables stay', () => {
  checkUnchanged(
    hoistInvariants,
    `%2: i32 = move 0:i32
     loop {
       %3: i32 = load space=global %0
       %4: i32 = move 7:i32
       %5: bool = compare relation=lt %1, 3:i32
       if %5 {
         %2: i32 = add %1, 4:i32
       }
       if %5 {
         break
       }
     }`,
  )
})

test('pure work under a condition leaves the loop, too', () => {
  checkPass(
    hoistInvariants,
    `loop {
       %2: i32 = load space=global %0
       %3: bool = compare relation=lt %2, 3:i32
       if %3 {
         %4: i32 = div 100:i32, %1
         store space=global %0, %4
         break
       }
     }`,
    `%4: i32 = div 100:i32, %1
     loop {
       %2: i32 = load space=global %0
       %3: bool = compare relation=lt %2, 3:i32
       if %3 {
         store space=global %0, %4
         break
       }
     }`,
  )
})

test('a register of a wgmma is unknown until a wait in the loop', () => {
  const body = (behind: string) => `%2: i32 = move 0:i32
     ${zeroed(20)}
     ${loaded(30)}
     wgmmaFence
     ${wgmma(20, 30)}
     wgmmaCommit
     loop {
       wgmmaWait pending=0
       %3: i32 = add %20, 1:i32
       ${behind}
       store space=global %0, %3
       %8: bool = compare relation=ge %2, %1
       if %8 {
         break
       }
     } step {
       %2: i32 = add %2, 1:i32
     }`
  checkUnchanged(hoistInvariants, body('%4: i32 = load space=global %0'))
})

test('what a barrier guards stays behind it; addresses of peers and of maps and policies leave', () => {
  const guarded = `waitBarrier %2, 0:i32
       %4: u32 = load space=cluster %3
       arrive space=cluster offset=8 %3
       store space=global %0, %4
       %5: bool = compare relation=lt %4, 3:u32
       if %5 {
         break
       }`
  checkPass(
    hoistInvariants,
    `%2: u32 = sharedWindow
     loop {
       %3: u32 = peerAddress %2, 1:i32
       %6: u64 = cachePolicy evict=first
       copyBulk %2, %0, %2, 64:i32, %6
       ${guarded}
     }`,
    `%2: u32 = sharedWindow
     %3: u32 = peerAddress %2, 1:i32
     %6: u64 = cachePolicy evict=first
     loop {
       copyBulk %2, %0, %2, 64:i32, %6
       ${guarded}
     }`,
  )
})

test.run()
