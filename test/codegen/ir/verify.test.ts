import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Bug } from '../../../codegen/diagnostics.ts'
import { immediate } from '../../../codegen/ir/value.ts'
import { verify } from '../../../codegen/ir/verify.ts'
import { kernelOf, parseIr } from '../../support/parse-ir.ts'

const test = suite('verify')

function refuses(body: string, why: RegExp | string): void {
  const ir = parseIr(kernelOf(body))
  try {
    verify(ir, 'a pass')
  } catch (error) {
    assert.instance(error, Bug)
    assert.match((error as Error).message, 'after a pass, kernel k')
    assert.match((error as Error).message, why)
    return
  }
  assert.unreachable(`accepted: ${body}`)
}

const accepts = (body: string): void => verify(parseIr(kernelOf(body)))

test('operations, results and arguments are those of the grammar', () => {
  refuses('%2: i32 = twice %1', /there is no operation twice: %2: i32 = twice %1 \(test\.ts:5\)/)
  refuses('%2: i32 = add %1', 'argument 1 is missing')
  refuses('%2: i32 = add %1, %1, %1', 'argument 2 is one too many')
  refuses('add %1, %1', 'result 0 is missing')
  refuses('%2: i32, %3: i32 = add %1, %1', 'result 1 is one too many')
  refuses('%2: u32 = add %1, %1', 'argument 0 is of type i32, not u32')
  refuses('%2: i32 = add %1, 1:u32', 'argument 1 is of type u32, not i32')
  refuses('%2: address = sub %0, %0', 'result 0 is of type address')
  refuses('%2: bool = compare relation=lt %0, %0', 'argument 0 is of type address')
  refuses('%2: i32 = select %1, %1, %1', 'argument 0 is of type i32, not bool')
})

test('attributes are there, known and of their kind', () => {
  refuses('%2: bool = compare %1, %1', 'the attribute relation is missing')
  refuses(
    '%2: bool = compare relation=approximately %1, %1',
    'the attribute relation cannot be approximately',
  )
  refuses('%2: i32 = add wrap=true %1, %1', 'there is no attribute wrap')
  refuses('%2: i32 = shr arithmetic=1 %1, %1', 'the attribute arithmetic cannot be 1')
  refuses('%2: i32 = load space=global offset=x %0', 'the attribute offset cannot be x')
  refuses('%2: i32 = param index=7', 'there is no parameter 7 of type i32')
  refuses('%2: i32 = param index=0', 'there is no parameter 0 of type i32')
  refuses('%2: u32 = sharedAddress variable=0', 'there is no shared variable 0')
})

test('rules of single operations', () => {
  refuses('%2: i32 = load space=shared %0', 'an address in shared memory is of type u32')
  refuses('%2: i32, %3: i32, %4: i32 = load space=global %0', 'a vector has 1, 2 or 4 elements')
  refuses('copyAsync bytes=12 0:u32, %0', 'a copy has 4, 8 or 16 bytes')
  refuses('copyAsync bytes=8 cache=cg 0:u32, %0', 'cg copies 16 bytes')
  refuses('%2: i32 = load space=shared cache=nc 0:u32', 'cache operators are for global memory')
  refuses('%2: f32 = atomic space=global fn=max %0, 1:f32', 'f32 atomics only add')
  refuses('%2: i32 = atomic space=global fn=cas %0, 1:i32', 'cas takes the expected and the new value')
  refuses('%2: address = bitcast %1', 'result 0 is of type address')
  refuses('%2: f16 = bitcast %1', 'a bitcast keeps the width')
  refuses('%2: i32 = convert rounding=rn 1:f32', 'rn rounds to a float')
  refuses('%2: f32 = convert rounding=rni %1', 'rni, rzi, rmi and rpi round a float to an integer')
  refuses('%2: f16x2 = pack2 1:bf16, 1:bf16', 'a pair of bf16 is of type bf16x2')
  refuses('%2: u32 = lop3 table=256 1:u32, 1:u32, 1:u32', 'a truth table has 8 bits')
  refuses('%2: u32, %3: u32, %4: u32 = ldmatrix 0:u32', 'it loads 1, 2 or 4 tiles')
})

test('an atom has its registers', () => {
  const mma = (acc: string, fragments: number, atom = 'm16n8k32.u8s8') =>
    `%2: i32, %3: i32, %4: i32, %5: i32 = mma atom=${atom} ${acc}${', 1:u32'.repeat(fragments)}`
  const acc = '0:i32, 0:i32, 0:i32, 0:i32'
  accepts(mma(acc, 6))
  refuses(mma(acc, 5), 'the atom takes 4 + 4 + 2 registers')
  refuses(mma(acc, 6, 'm16n8k64.s4s4'), 'the attribute atom cannot be m16n8k64.s4s4')
  refuses(mma(acc, 6, 'm16n8k16.f16'), 'accumulators are of type f32')
  refuses(mma('0:i32, 0:i32, 0:i32, 0:u32', 6), 'accumulators are of type i32')
  refuses(
    '%2: i32, %3: i32 = mma atom=m16n8k32.u8s8 0:i32, 0:i32, 0:i32, 0:i32, 1:u32, 1:u32, 1:u32, 1:u32, 1:u32, 1:u32',
    'the atom gives 4 registers',
  )
})

test('immediates are in normal form', () => {
  const ir = parseIr(kernelOf('%2: i32 = add %1, 1:i32'))
  const node = ir.body.at(-1)!
  assert.is(node.kind, 'instruction')
  for (const value of [0.5, 2 ** 31, -0, Number.NaN])
    assert.throws(
      () =>
        verify({
          ...ir,
          body: [...ir.body.slice(0, -1), { ...node, args: [{ ...immediate('i32', 1), value }] } as never],
        }),
      'is no i32',
    )
})

test('a register is written before it is read, on every path', () => {
  const branches = (otherwise: string) => `%9: bool = compare relation=lt %1, 0:i32
    if %9 {
      %2: i32 = move 1:i32
    } else {
      ${otherwise}
    }
    %3: i32 = move %2`
  refuses('%2: i32 = add %1, %3\n%3: i32 = move 1:i32', '%3 may be read before it is written')
  refuses(branches('%4: i32 = move 1:i32'), '%2 may be read before it is written')
  accepts(branches('%2: i32 = move 2:i32'))
  accepts(branches('return'))
})

test('behind a loop what every break has behind it is written', () => {
  const loop = (before: string, after: string) => `loop {
      ${before}
      %9: bool = compare relation=lt %1, 0:i32
      if %9 {
        break
      }
      ${after}
    } step {
      %3: i32 = move %1
    }
    %4: i32 = move %2`
  accepts(loop('%2: i32 = move 1:i32', ''))
  refuses(loop('', '%2: i32 = move 1:i32'), '%2 may be read before it is written')
  refuses(loop('%2: i32 = move %3', ''), '%3 may be read before it is written')
})

test('the step may read what every continue has behind it', () => {
  const loop = (before: string, after: string) => `loop {
      %9: bool = compare relation=lt %1, 0:i32
      if %9 {
        break
      }
      ${before}
      %8: bool = compare relation=lt %1, 5:i32
      if %8 {
        continue
      }
      ${after}
    } step {
      %4: i32 = move %2
    }`
  accepts(loop('%2: i32 = move 1:i32', ''))
  refuses(loop('', '%2: i32 = move 1:i32'), '%2 may be read before it is written')
})

test('jumps are inside what they leave, and not in a step', () => {
  refuses('break', 'break outside a loop')
  refuses('continue', 'continue outside a loop')
  refuses('loop {\n} step {\nbreak\n}', 'the step of a loop has no jump')
  refuses('loop {\n} step {\nreturn\n}', 'the step of a loop has no jump')
})

test('a register keeps its type, and one instruction writes it once', () => {
  refuses('%2: i32 = move %1\n%2: f32 = move 1:f32', '%2 is of type i32, not f32')
  refuses('%2: i32, %2: i32 = load space=global %0', 'one register is written twice')
  refuses('if %1 {\n}', 'a condition is of type bool')
})

test('what the copy engine takes is checked: coordinates, spaces, and that a map is one', () => {
  const window = '%2: u32 = sharedWindow\n%3: u64 = cachePolicy evict=last\n'
  accepts(`${window}copyTensor %2, %2, %3, %1, %1, 3:u32, %3`)
  accepts(`${window}copyTensor %2, %2, %3, %1, %1, %1, %3`)
  refuses(`${window}copyTensor %2, %2, %3, %1`, 'two or three coordinates')
  refuses(`${window}copyTensor %2, %2, %3, %1, %1, %1, %1`, 'two or three coordinates')
  refuses(`${window}copyTensor %2, %2, %3, %1, %1, %3, 3:u32`, 'one too many')
  accepts(`${window}storeTensor %2, %3, %1, %1, %3`)
  refuses(`${window}storeTensor %2, %3, %1, %3`, 'two or three coordinates')
  refuses(`${window}arrive space=global %2`, 'the attribute space cannot be global')
  refuses(`${window}%4: u64 = tensorMap index=1`, 'parameter 1 is no tensor map')
  refuses(`${window}%4: u32 = load space=cluster cache=cg %2`, 'cache operators are for global memory')
})

test.run()
