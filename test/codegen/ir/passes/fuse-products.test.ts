import { suite } from 'uvu'
import { fuseProducts } from '../../../../codegen/ir/passes/fuse-products.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'

const test = suite('fuseProducts')

test('a product read by one sum joins it, and other powers of two become shifts', () => {
  checkPass(
    fuseProducts,
    `%2: i32 = mul %1, 12:i32
     %3: i32 = add %1, %2
     %4: address = mulWide %3, 4:i32
     %5: address = add %4, %0
     %6: i32 = mul %1, 8:i32
     store space=global %5, %3, %6`,
    `%3: i32 = mad %1, 12:i32, %1
     %5: address = madWide %3, 4:i32, %0
     %6: i32 = shl %1, 3:u32
     store space=global %5, %3, %6`,
  )
})

test('not when the product is read twice, or its argument is written in between', () => {
  checkUnchanged(
    fuseProducts,
    `%2: i32 = mul %1, 12:i32
     %3: i32 = add %1, %2
     %4: i32 = add %2, 1:i32
     %5: i32 = move 0:i32
     %6: i32 = mul %5, %1
     %5: i32 = add %5, 1:i32
     %7: i32 = add %6, %1
     store space=global %0, %3, %4
     store space=global %0, %5, %7`,
  )
})

test('not into a loop, and not for floats', () => {
  checkUnchanged(
    fuseProducts,
    `%2: i32 = mul %1, 12:i32
     %6: f32 = load space=global %0
     %7: f32 = mul %6, %6
     %8: f32 = add %7, %6
     loop {
       %3: i32 = add %2, 1:i32
       store space=global %0, %3
       %4: bool = compare relation=lt %3, 9:i32
       if %4 {
         break
       }
     }`,
  )
})

test.run()
