import { suite } from 'uvu'
import type { KernelIr } from '../../../../codegen/ir/op.ts'
import { eliminateCommon } from '../../../../codegen/ir/passes/eliminate-common.ts'
import { eliminateDead } from '../../../../codegen/ir/passes/eliminate-dead.ts'
import { hoistInvariants } from '../../../../codegen/ir/passes/hoist-invariants.ts'
import { propagateCopies } from '../../../../codegen/ir/passes/propagate-copies.ts'
import { regroupSums } from '../../../../codegen/ir/passes/regroup-sums.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'

const test = suite('regroupSums')

/** The pass with those that take what it frees out of the loop. */
function clean(ir: KernelIr): KernelIr {
  return eliminateDead(propagateCopies(eliminateCommon(hoistInvariants(regroupSums(ir)))))
}

const loop = (inside: string, before = '', behind = ''): string => `%2: i32 = special name=tid.x
     %3: u32 = sharedWindow
     %4: i32 = move 0:i32
     ${before}
     loop {
       %5: bool = compare relation=ge %4, %1
       if %5 {
         break
       }
       ${inside}
     } step {
       %4: i32 = add %4, 1:i32
     }
     store space=global offset=8 %0, %2
     store space=shared %3, %2
     ${behind}`

test('what a loop does not change leaves it, and its variable is added last', () => {
  checkPass(
    clean,
    loop(`%6: i32 = shl %4, 11:u32
       %7: i32 = add %6, %2
       %8: address = madWide %7, 4:i32, %0
       %9: i32 = load space=global %8
       store space=global offset=4 %0, %9`),
    loop(
      `%11: address = mulWide %4, 8192:i32
       %13: address = add %12, %11
       %9: i32 = load space=global %13
       store space=global offset=4 %0, %9`,
      `%10: address = mulWide %2, 4:i32
       %12: address = add %0, %10`,
    ),
  )
})

test('32-bit sums in shared memory, through changes of type, with the constant in the offset', () => {
  checkPass(
    clean,
    loop(`%6: i32 = mad %4, 256:i32, %2
       %7: i32 = add %6, 3:i32
       %8: u32 = convert %7
       %9: u32 = mad %8, 4:u32, %3
       %10: i32 = load space=shared %9
       store space=global offset=4 %0, %10`),
    loop(
      `%13: u32 = convert %4
       %14: u32 = mul %13, 1024:u32
       %16: u32 = add %15, %14
       %10: i32 = load space=shared offset=12 %16
       store space=global offset=4 %0, %10`,
      `%11: u32 = convert %2
       %12: u32 = mul %11, 4:u32
       %15: u32 = add %12, %3`,
    ),
  )
})

test('a sum that has nothing to leave the loop stays, and so does one outside loops', () => {
  checkUnchanged(
    regroupSums,
    loop(
      `%6: address = mulWide %4, 4:i32
       %7: address = add %6, %0
       %8: i32 = load space=global %7
       store space=global offset=4 %0, %8`,
      `%9: i32 = add %2, %1
       %10: i32 = add %9, %2
       %11: address = madWide %10, 4:i32, %0
       store space=global %11, %2`,
    ),
  )
})

test('a variable that was written since is not read in its place', () => {
  checkUnchanged(
    regroupSums,
    loop(`%6: i32 = shl %4, 11:u32
       %7: i32 = add %6, %2
       %4: i32 = add %4, 1:i32
       %8: address = madWide %7, 4:i32, %0
       store space=global %8, %2`),
  )
})

test('an unsigned sum that may wrap is not taken apart before it is widened', () => {
  checkUnchanged(
    regroupSums,
    loop(`%6: i32 = shl %4, 11:u32
       %7: i32 = add %6, %2
       %8: u32 = convert %7
       %9: address = mulWide %8, 4:u32
       %10: address = add %9, %0
       store space=global %10, %2`),
  )
})

test.run()
