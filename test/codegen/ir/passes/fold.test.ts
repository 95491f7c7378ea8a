import { suite } from 'uvu'
import { fold } from '../../../../codegen/ir/passes/fold.ts'
import { checkPass, checkUnchanged } from '../../../support/check-pass.ts'

const test = suite('fold')

/** `before` and `after` are the right-hand sides that compute `%9` from %1 (i32) or %3 (f32). */
const each = (type: string, cases: readonly (readonly [before: string, after: string])[]): void => {
  for (const [before, after] of cases) {
    const body = (right: string) => `%2: f32 = load space=global %0
     %9: ${type} = ${right}`
    checkPass(fold, body(before), body(after))
  }
}

test('integer identities', () => {
  each('i32', [
    ['add %1, 0:i32', 'move %1'],
    ['add 4:i32, %1', 'add %1, 4:i32'],
    ['sub %1, 4:i32', 'add %1, -4:i32'],
    ['sub %1, -2147483648:i32', 'add %1, -2147483648:i32'],
    ['sub 0:i32, %1', 'neg %1'],
    ['sub %1, %1', 'move 0:i32'],
    ['mul %1, 1:i32', 'move %1'],
    ['mul %1, 0:i32', 'move 0:i32'],
    ['mad %1, 1:i32, %1', 'add %1, %1'],
    ['mad 3:i32, 5:i32, %1', 'add %1, 15:i32'],
    ['and %1, -1:i32', 'move %1'],
    ['and %1, 0:i32', 'move 0:i32'],
    ['or %1, 0:i32', 'move %1'],
    ['xor %1, -1:i32', 'not %1'],
    ['xor %1, %1', 'move 0:i32'],
    ['shl %1, 0:u32', 'move %1'],
    ['min %1, %1', 'move %1'],
    ['div %1, 1:i32', 'move %1'],
  ])
})

test('constants as the target computes them', () => {
  each('i32', [
    ['add 2147483647:i32, 1:i32', 'move -2147483648:i32'],
    ['mul 65537:i32, 65537:i32', 'move 131073:i32'],
    ['div -7:i32, 2:i32', 'move -3:i32'],
    ['rem -7:i32, 2:i32', 'move -1:i32'],
    ['shl 1:i32, 32:u32', 'move 0:i32'],
    ['shr arithmetic=true -8:i32, 40:u32', 'move -1:i32'],
    ['shr arithmetic=false -8:i32, 28:u32', 'move 15:i32'],
    ['mulHi -1:i32, 3:i32', 'move -1:i32'],
    ['convert rounding=rni saturate=false 2.5:f32', 'move 2:i32'],
    ['convert rounding=rzi 3000000000:f32', 'move 2147483647:i32'],
    ['bitcast 1:f32', 'move 1065353216:i32'],
  ])
  each('u32', [
    ['sub 1:u32, 2:u32', 'move 4294967295:u32'],
    ['permuteBytes 1144201745:u32, 2289526357:u32, 29971:u32', 'move 2288394820:u32'],
    ['lop3 table=150 12:u32, 10:u32, 1:u32', 'move 7:u32'],
    ['funnelShift direction=left 2147483648:u32, 1:u32, 1:u32', 'move 3:u32'],
  ])
  each('f32', [
    ['add 16777216:f32, 1:f32', 'move 16777216:f32'],
    ['div 1:f32, 3:f32', 'move 0.3333333432674408:f32'],
    ['round 2.5:f32', 'move 2:f32'],
  ])
  each('i8', [
    ['convert saturate=true 300:i32', 'move 127:i8'],
    ['convert 300:i32', 'move 44:i8'],
  ])
})

test('a division by zero and a NaN are left to the target', () => {
  each('i32', [['div 1:i32, 0:i32', 'div 1:i32, 0:i32']])
  each('f32', [['sqrt -1:f32', 'sqrt -1:f32']])
})

test('float identities keep every sign of zero', () => {
  each('f32', [
    ['add %2, 0:f32', 'add %2, 0:f32'],
    ['add %2, -0:f32', 'move %2'],
    ['sub %2, 0:f32', 'move %2'],
    ['mul %2, 1:f32', 'move %2'],
    ['mul %2, -1:f32', 'neg %2'],
    ['mul %2, 0:f32', 'mul %2, 0:f32'],
    ['div %2, 8:f32', 'mul %2, 0.125:f32'],
    ['div %2, 3:f32', 'div %2, 3:f32'],
    ['sub %2, %2', 'sub %2, %2'],
  ])
})

test('chains of constants join', () => {
  checkPass(
    fold,
    `%2: i32 = add %1, 3:i32
     %3: i32 = add %2, 4:i32
     %4: i32 = mul %1, 6:i32
     %5: i32 = mul %4, 7:i32
     %6: i32 = shl %1, 3:u32
     %7: i32 = shl %6, 4:u32
     %8: u32 = convert %1
     %9: i32 = convert %8`,
    `%2: i32 = add %1, 3:i32
     %3: i32 = add %1, 7:i32
     %4: i32 = mul %1, 6:i32
     %5: i32 = mul %1, 42:i32
     %6: i32 = shl %1, 3:u32
     %7: i32 = shl %1, 7:u32
     %8: u32 = convert %1
     %9: i32 = move %1`,
  )
})

test('a variable is not read through, since it may have been written in between', () => {
  checkUnchanged(
    fold,
    `%2: i32 = move 1:i32
     %3: i32 = add %2, 3:i32
     %2: i32 = move %1
     %4: i32 = add %3, 4:i32
     %5: i32 = add %2, 4:i32`,
  )
})

test('bounds of the thread index decide comparisons, and turn division into shifts', () => {
  checkPass(
    fold,
    `%2: i32 = special name=tid.x
     %3: bool = compare relation=lt %2, 128:i32
     %4: bool = compare relation=lt %2, 127:i32
     %5: i32 = div %2, 8:i32
     %6: i32 = rem %2, 8:i32
     %7: i32 = and %2, 127:i32
     %8: i32 = min %2, 200:i32
     %9: i32 = div %1, 8:i32
     %10: i32 = special name=tid.y
     %11: bool = compare relation=eq %10, 0:i32`,
    `%2: i32 = special name=tid.x
     %3: bool = move 1:bool
     %4: bool = compare relation=lt %2, 127:i32
     %5: i32 = shr arithmetic=false %2, 3:u32
     %6: i32 = and %2, 7:i32
     %7: i32 = move %2
     %8: i32 = move %2
     %9: i32 = div %1, 8:i32
     %10: i32 = special name=tid.y
     %11: bool = move 1:bool`,
  )
})

test('a multiple and a rest come apart under shifts and masks', () => {
  checkPass(
    fold,
    `%2: i32 = special name=tid.x
     %3: i32 = special name=laneid
     %4: i32 = mul %2, 64:i32
     %5: i32 = add %4, %3
     %6: i32 = shr arithmetic=true %5, 6:u32
     %7: i32 = and %5, 63:i32
     %8: i32 = and %5, 31:i32
     %9: i32 = add %1, 64:i32
     %10: i32 = and %9, 31:i32`,
    `%2: i32 = special name=tid.x
     %3: i32 = special name=laneid
     %4: i32 = mul %2, 64:i32
     %5: i32 = add %4, %3
     %6: i32 = shr arithmetic=true %4, 6:u32
     %7: i32 = move %3
     %8: i32 = move %3
     %9: i32 = add %1, 64:i32
     %10: i32 = and %1, 31:i32`,
  )
})

test('a counting loop bounds its variable', () => {
  const loop = (inside: string) => `%2: i32 = move 0:i32
     loop {
       %3: bool = compare relation=ge %2, 64:i32
       if %3 {
         break
       }
       ${inside}
     } step {
       %2: i32 = add %2, 4:i32
     }
     %8: i32 = and %2, 63:i32`
  checkPass(
    fold,
    loop(`%4: i32 = and %2, 63:i32
       %5: i32 = and %2, 3:i32
       %6: i32 = div %2, 4:i32`),
    loop(`%4: i32 = move %2
       %5: i32 = move 0:i32
       %6: i32 = shr arithmetic=false %2, 2:u32`),
  )
})

test('a variable that is written once more in the loop has no bounds', () => {
  checkUnchanged(
    fold,
    `%2: i32 = move 0:i32
     loop {
       %3: bool = compare relation=ge %2, 64:i32
       if %3 {
         break
       }
       %4: i32 = and %2, 63:i32
       %2: i32 = add %2, %1
     } step {
       %2: i32 = add %2, 4:i32
     }`,
  )
})

test('an if on a known condition becomes its branch', () => {
  checkPass(
    fold,
    `%2: bool = compare relation=lt 3:i32, 4:i32
     if %2 {
       store space=global %0, 1:i32
     } else {
       store space=global %0, 2:i32
     }`,
    `%2: bool = move 1:bool
     store space=global %0, 1:i32`,
  )
})

test('a loop that breaks in its first iteration is that iteration', () => {
  const loop = (limit: number) => `%2: i32 = move 0:i32
     loop {
       store space=global %0, %2
       %3: bool = compare relation=ge %2, ${limit}:i32
       if %3 {
         break
       }
     } step {
       %2: i32 = add %2, 1:i32
     }`
  checkPass(
    fold,
    loop(0),
    `%2: i32 = move 0:i32
     store space=global %0, %2
     %3: bool = move 1:bool`,
  )
  checkUnchanged(fold, loop(1))
})

test('a negated condition exchanges the branches, and the opposite of a float comparison is not one', () => {
  checkPass(
    fold,
    `%2: f32 = load space=global %0
     %3: bool = compare relation=lt %2, 1:f32
     %4: bool = not %3
     %5: bool = compare relation=lt %1, 1:i32
     %6: bool = not %5
     if %4 {
       store space=global %0, 1:i32
     }`,
    `%2: f32 = load space=global %0
     %3: bool = compare relation=lt %2, 1:f32
     %4: bool = not %3
     %5: bool = compare relation=lt %1, 1:i32
     %6: bool = compare relation=ge %1, 1:i32
     if %3 {
     } else {
       store space=global %0, 1:i32
     }`,
  )
})

test.run()
