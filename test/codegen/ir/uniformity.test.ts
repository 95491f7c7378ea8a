import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { checkUniformity } from '../../../codegen/ir/passes/check-uniformity.ts'
import { Refusal } from '../../../codegen/ir/refusal.ts'
import { verify } from '../../../codegen/ir/verify.ts'
import { kernelOf, parseIr } from '../../support/parse-ir.ts'

const test = suite('uniformity')

function check(body: string, block?: string): Refusal | undefined {
  const ir = parseIr(kernelOf(body, block))
  verify(ir)
  try {
    checkUniformity(ir)
    return undefined
  } catch (error) {
    assert.instance(error, Refusal)
    return error as Refusal
  }
}

const accepts = (body: string, block?: string): void => {
  const refusal = check(body, block)
  assert.is(refusal, undefined, `refused: ${refusal?.message} ${JSON.stringify(refusal?.context)}`)
}

/** The line of the cause, counted in the body from 1. */
const refuses = (code: string, causeLine: number, body: string, block?: string): void => {
  const refusal = check(body, block)
  assert.ok(refusal, 'accepted')
  assert.is(refusal.code, code)
  assert.is(refusal.context.notes![0]!.location!.line - 4, causeLine)
}

const underIf = (condition: string, inside: string): string => `${condition}
  if %9 {
    ${inside}
  }`

const barrier = 'barrier'
const shuffle = '%20: i32 = shuffle mode=xor %1, 1:i32'

test('a condition on the thread parts lanes', () => {
  const condition = `%2: i32 = special name=tid.x
    %9: bool = compare relation=eq %2, 0:i32`
  refuses('E0602', 3, underIf(condition, barrier))
  refuses('E0603', 3, underIf(condition, shuffle))
})

test('a condition on the warp parts warps, not lanes', () => {
  for (const warp of [
    'shr arithmetic=true %2, 5:u32',
    'shr arithmetic=false %2, 6:u32',
    'div %2, 64:i32',
    'and %2, -32:i32',
  ]) {
    const condition = `%2: i32 = special name=tid.x
    %3: i32 = ${warp}
    %9: bool = compare relation=eq %3, 0:i32`
    refuses('E0602', 4, underIf(condition, barrier))
    accepts(underIf(condition, shuffle))
  }
})

test('so does tid.x below a multiple of 32', () => {
  for (const [relation, bound] of [
    ['lt', 64],
    ['ge', 32],
    ['le', 31],
    ['gt', 95],
  ]) {
    const condition = `%2: i32 = special name=tid.x
    %9: bool = compare relation=${relation} %2, ${bound}:i32`
    refuses('E0602', 3, underIf(condition, barrier))
    accepts(underIf(condition, shuffle))
  }
  const condition = `%2: i32 = special name=tid.x
    %9: bool = compare relation=lt %2, 48:i32`
  refuses('E0603', 3, underIf(condition, shuffle))
})

const warpgroup = 'wgmmaFence'

test('what parts at multiples of 128 threads parts warpgroups, not their warps', () => {
  const warps = 'shr arithmetic=true %2, 5:u32'
  for (const [value, relation, bound] of [
    ['shr arithmetic=true %2, 7:u32', 'eq', '1:i32'],
    ['div %2, 128:i32', 'ne', '0:i32'],
    ['move %2', 'lt', '256:i32'],
    [warps, 'ge', '8:i32'],
    [warps, 'le', '3:i32'],
  ]) {
    const condition = `%2: i32 = special name=tid.x
    %3: i32 = ${value}
    %9: bool = compare relation=${relation} %3, ${bound}`
    refuses('E0602', 4, underIf(condition, barrier), '384x1x1')
    accepts(underIf(condition, warpgroup), '384x1x1')
  }
  for (const [value, relation, bound] of [
    [warps, 'eq', '4:i32'],
    [warps, 'lt', '6:i32'],
    [warps, 'le', '4:i32'],
    ['shr arithmetic=true %2, 6:u32', 'eq', '2:i32'],
    ['rem %2, 128:i32', 'lt', '64:i32'],
  ]) {
    const condition = `%2: i32 = special name=tid.x
    %3: i32 = ${value}
    %9: bool = compare relation=${relation} %3, ${bound}`
    refuses('E0605', 4, underIf(condition, warpgroup), '384x1x1')
  }
})

test('warps may be counted against a multiple of four that is known at run time, and divided further', () => {
  const warp = (rest: string) => `%2: i32 = special name=tid.x
    %3: i32 = shr arithmetic=true %2, 5:u32
    ${rest}`
  const [byFour, byTwo] = [4, 2].map((n) =>
    warp(`%4: i32 = mul %1, ${n}:i32
    %9: bool = compare relation=lt %3, %4`),
  ) as [string, string]
  accepts(underIf(byFour, warpgroup), '384x1x1')
  refuses('E0605', 5, underIf(byTwo, warpgroup), '384x1x1')
  const group = warp(`%4: i32 = shr arithmetic=true %3, 2:u32
    %5: i32 = add %4, %1
    %9: bool = compare relation=eq %5, 3:i32`)
  accepts(underIf(group, warpgroup), '384x1x1')
  const reversed = warp('%9: bool = compare relation=ge 4:i32, %3')
  refuses('E0605', 4, underIf(reversed, warpgroup), '384x1x1')
  accepts(underIf(reversed.replace('ge', 'gt'), warpgroup), '384x1x1')
})

test('warpgroups are rows of 128 threads only where a row of the block is', () => {
  const condition = `%2: i32 = special name=tid.x
    %9: bool = compare relation=lt %2, 128:i32`
  accepts(underIf(condition, warpgroup), '256x2x1')
  refuses('E0605', 3, underIf(condition, warpgroup), '192x2x1')
})

test('a block of one warp is together when its warp is', () => {
  const condition = `%2: i32 = special name=laneid
    %8: bool = compare relation=lt %2, %1
    %9: bool = vote mode=any %8`
  refuses('E0602', 4, underIf(condition, barrier))
  accepts(underIf(condition, barrier), '32x1x1')
})

test('indices of the CTA, parameters and what is loaded from one address part nobody', () => {
  accepts(
    underIf(
      `%2: i32 = special name=ctaid.x
       %3: address = madWide %2, 4:i32, %0
       %4: i32 = load space=global %3
       %9: bool = compare relation=lt %4, %1`,
      barrier,
    ),
  )
})

test('a load at a thread of its own, an atomic and a shuffle part lanes; a vote and a broadcast do not', () => {
  const value = (instruction: string) => `%2: i32 = special name=tid.x
    %3: address = madWide %2, 4:i32, %0
    %4: i32 = load space=global %3
    %5: i32 = ${instruction}
    %9: bool = compare relation=lt %5, %1`
  for (const parts of [
    'move %4',
    'atomic space=global fn=add %0, 1:i32',
    'shuffle mode=xor %4, 1:i32',
    'shuffle mode=index %4, %4',
  ])
    refuses('E0603', 6, underIf(value(parts), shuffle))
  for (const joins of ['redux fn=add %4', 'shuffle mode=index %4, 0:i32', 'shuffle mode=xor %1, 1:i32'])
    accepts(underIf(value(joins), shuffle))
})

test('behind a divergent return nobody comes together', () => {
  const body = (end: string) => `%2: i32 = special name=tid.x
    %3: bool = compare relation=lt %2, %1
    if %3 {
      return
    }
    ${end}`
  refuses('E0602', 3, body(barrier))
  refuses('E0603', 3, body(shuffle))
})

test('behind a divergent if they do', () => {
  accepts(`%2: i32 = special name=tid.x
    %3: bool = compare relation=lt %2, %1
    if %3 {
      store space=global %0, %2
    }
    barrier`)
})

test('a uniform return parts nobody', () => {
  accepts(`%3: bool = compare relation=lt %1, 0:i32
    if %3 {
      return
    }
    barrier`)
})

const loop = (start: string, limit: string, step: string, inside: string, behind = ''): string =>
  `%2: i32 = special name=tid.x
   %3: i32 = special name=ctaid.x
   %4: i32 = move ${start}
   loop {
     %9: bool = compare relation=ge %4, ${limit}
     if %9 {
       break
     }
     ${inside}
   } step {
     %4: i32 = add %4, ${step}
   }
   ${behind}`

test('a loop over the same range for all may have a barrier, whatever the CTA', () => {
  accepts(loop('0:i32', '%1', '1:i32', barrier))
  accepts(loop('%3', '%1', '4:i32', barrier))
})

test('a loop from the thread index parts lanes, and they come together behind it', () => {
  refuses('E0602', 6, loop('%2', '%1', '128:i32', barrier))
  refuses('E0603', 6, loop('%2', '%1', '128:i32', shuffle))
  accepts(loop('%2', '%1', '128:i32', '', barrier))
})

test('a loop from the thread index in steps of the block up to a multiple of it parts nobody', () => {
  accepts(loop('%2', '1024:i32', '128:i32', barrier))
  refuses('E0602', 6, loop('%2', '1024:i32', '64:i32', barrier))
  accepts(loop('%2', '1056:i32', '32:i32', shuffle))
  refuses('E0603', 6, loop('%2', '1040:i32', '32:i32', shuffle))
})

test('a loop over warps parts warps', () => {
  const warps = (inside: string) => `%2: i32 = special name=tid.x
   %8: i32 = shr arithmetic=true %2, 5:u32
   %4: i32 = move %8
   loop {
     %9: bool = compare relation=ge %4, %1
     if %9 {
       break
     }
     ${inside}
   } step {
     %4: i32 = add %4, 4:i32
   }`
  accepts(warps(shuffle))
  refuses('E0602', 6, warps(barrier))
})

test('a divergent break parts the rest of the loop, a divergent continue the rest of the iteration', () => {
  const inside = (jump: string) => `%5: bool = compare relation=lt %2, %4
     if %5 {
       ${jump}
     }
     ${barrier}`
  refuses('E0602', 10, loop('0:i32', '%1', '1:i32', inside('break')))
  refuses('E0602', 10, loop('0:i32', '%1', '1:i32', inside('continue')))
  // A barrier before a break comes after it in the next iteration; one before a continue does not.
  const before = (jump: string) => `${barrier}
     %5: bool = compare relation=lt %2, %4
     if %5 {
       ${jump}
     }`
  refuses('E0602', 11, loop('0:i32', '%1', '1:i32', before('break')))
  accepts(loop('0:i32', '%1', '1:i32', before('continue')))
})

test('a variable written under divergent control is no longer uniform, and stays so in a loop', () => {
  refuses(
    'E0602',
    8,
    `%2: i32 = special name=tid.x
     %3: bool = compare relation=lt %2, %1
     %4: i32 = move 0:i32
     if %3 {
       %4: i32 = move 1:i32
     }
     %9: bool = compare relation=eq %4, 1:i32
     if %9 {
       barrier
     }`,
  )
})

test('what was counted in a loop that lanes left apart differs between them', () => {
  refuses(
    'E0603',
    14,
    loop('%2', '%1', '128:i32', '%6: i32 = load space=global %0', '') +
      `%7: bool = compare relation=eq %4, 3:i32
     if %7 {
       ${shuffle}
     }`,
  )
})

test('the refusal names the operation, the condition and what to do', () => {
  const refusal = check(
    underIf('%2: i32 = special name=laneid\n%9: bool = compare relation=eq %2, 0:i32', barrier),
  )!
  assert.is(refusal.message, 'barrier() must be reached by all threads of the block together, and is not')
  assert.is(refusal.context.notes![0]!.message, 'this condition differs between the lanes of a warp')
  assert.match(refusal.context.help!, 'move barrier() out of the condition')
})

test.run()
