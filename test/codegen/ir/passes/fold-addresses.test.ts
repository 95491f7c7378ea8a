import { suite } from 'uvu'
import type { KernelIr } from '../../../../codegen/ir/op.ts'
import { eliminateCommon } from '../../../../codegen/ir/passes/eliminate-common.ts'
import { eliminateDead } from '../../../../codegen/ir/passes/eliminate-dead.ts'
import { foldAddresses } from '../../../../codegen/ir/passes/fold-addresses.ts'
import { propagateCopies } from '../../../../codegen/ir/passes/propagate-copies.ts'
import { checkPass } from '../../../support/check-pass.ts'

const test = suite('foldAddresses')

/** The pass with those that clean up behind it, since it leaves twins. */
function clean(ir: KernelIr): KernelIr {
  return eliminateDead(propagateCopies(eliminateCommon(foldAddresses(ir))))
}

test('constants deep in an index become offsets, and accesses share a base', () => {
  checkPass(
    clean,
    `%2: i32 = special name=tid.x
     %3: i32 = add %2, 32:i32
     %4: address = madWide %3, 4:i32, %0
     %5: i32 = load space=global %4
     %6: i32 = add %2, 64:i32
     %7: address = madWide %6, 4:i32, %0
     %8: i32 = load space=global offset=8 %7
     store space=global %0, %5, %8`,
    `%2: i32 = special name=tid.x
     %9: address = madWide %2, 4:i32, %0
     %5: i32 = load space=global offset=128 %9
     %8: i32 = load space=global offset=264 %9
     store space=global %0, %5, %8`,
  )
})

test('sums, shifts and conversions on the way', () => {
  checkPass(
    clean,
    `%2: u32 = sharedWindow
     %3: i32 = add %1, -3:i32
     %4: i32 = mul %3, 20:i32
     %5: i32 = shl %4, 2:u32
     %6: u32 = convert %5
     %7: u32 = add %2, %6
     %8: i32 = load space=shared %7
     store space=global %0, %8`,
    `%2: u32 = sharedWindow
     %9: i32 = mul %1, 20:i32
     %10: i32 = shl %9, 2:u32
     %11: u32 = convert %10
     %12: u32 = add %2, %11
     %8: i32 = load space=shared offset=-240 %12
     store space=global %0, %8`,
  )
})

test('both addresses of a copy', () => {
  checkPass(
    clean,
    `%2: u32 = sharedWindow
     %3: u32 = add %2, 512:u32
     %4: address = add %0, 4096:address
     copyAsync bytes=16 %3, %4`,
    `%2: u32 = sharedWindow
     copyAsync bytes=16 sharedOffset=512 globalOffset=4096 %2, %0`,
  )
})

test('an unsigned index that may wrap before it is widened stays', () => {
  checkPass(
    clean,
    `%2: u32 = convert %1
     %3: u32 = add %2, 32:u32
     %4: address = mulWide %3, 4:u32
     %5: address = add %4, %0
     %6: i32 = load space=global %5
     store space=global %0, %6`,
    `%2: u32 = convert %1
     %3: u32 = add %2, 32:u32
     %4: address = mulWide %3, 4:u32
     %5: address = add %4, %0
     %6: i32 = load space=global %5
     store space=global %0, %6`,
  )
})

test('a variable is read where the sum stood', () => {
  checkPass(
    clean,
    `%2: i32 = move 0:i32
     %2: i32 = add %2, %1
     %3: i32 = add %2, 5:i32
     %2: i32 = add %2, %1
     %4: address = mulWide %3, 4:i32
     %5: address = add %4, %0
     store space=global %5, %2`,
    `%2: i32 = add 0:i32, %1
     %6: i32 = move %2
     %2: i32 = add %2, %1
     %7: address = mulWide %6, 4:i32
     %8: address = add %7, %0
     store space=global offset=20 %8, %2`,
  )
})

test('copies and barriers take the constants of all their addresses', () => {
  checkPass(
    clean,
    `%2: u32 = sharedWindow
     %3: u32 = add %2, 1024:u32
     %4: u32 = add %2, 24:u32
     %5: address = add %0, 64:address
     initBarrier %4, 1:i32
     copyBulk %3, %5, %4, %1
     storeBulk sharedOffset=16 %3, %5, 32:i32
     arrive space=shared offset=8 %4
     waitBarrier %4, %1`,
    `%2: u32 = sharedWindow
     initBarrier offset=24 %2, 1:i32
     copyBulk sharedOffset=1024 globalOffset=64 barrierOffset=24 %2, %0, %2, %1
     storeBulk sharedOffset=1040 globalOffset=64 %2, %0, 32:i32
     arrive space=shared offset=32 %2
     waitBarrier offset=24 %2, %1`,
  )
})

test.run()
