import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { checkWgmma } from '../../../../codegen/ir/passes/check-wgmma.ts'
import { Refusal } from '../../../../codegen/ir/refusal.ts'
import { verify } from '../../../../codegen/ir/verify.ts'
import { kernelOf, parseIr } from '../../../support/parse-ir.ts'
import { loaded, wgmma, zeroed } from '../../../support/wgmma-ir.ts'

const test = suite('checkWgmma')

function check(body: string): Refusal | undefined {
  const ir = parseIr(kernelOf(body))
  verify(ir)
  try {
    checkWgmma(ir)
    return undefined
  } catch (error) {
    assert.instance(error, Refusal)
    return error as Refusal
  }
}

const accepts = (...lines: string[]): void => {
  const refusal = check(lines.join('\n'))
  assert.is(refusal, undefined, `refused: ${refusal?.message} ${JSON.stringify(refusal?.context)}`)
}

/** The text of the line blamed. */
const refuses = (code: string, blamed: string, ...lines: string[]): void => {
  const body = lines.join('\n')
  const refusal = check(body)
  assert.ok(refusal, 'accepted')
  assert.is(refusal.code, code)
  assert.is(body.split('\n')[refusal.context.location!.line - 5]?.trim(), blamed)
}

const [fence, commit] = ['wgmmaFence', 'wgmmaCommit']
const wait = (pending: number) => `wgmmaWait pending=${pending}`
const first = wgmma(20, 30)
const second = wgmma(20, 40)
const start = [zeroed(20), loaded(30), loaded(40)]
const read = 'store space=global %0, %20'
const readA = 'store space=global %0, %30'

/** A loop of `%1` iterations. */
const loop = (...body: string[]) => [
  '%2: i32 = move 0:i32',
  'loop {',
  '%9: bool = compare relation=ge %2, %1',
  'if %9 {',
  'break',
  '}',
  ...body,
  '} step {',
  '%2: i32 = add %2, 1:i32',
  '}',
]

test('accumulators and A are free behind a wait that covers their group', () => {
  accepts(...start, fence, first, commit, wait(0), read, readA)
  accepts(...start, fence, first, commit, second, commit, wait(1), readA, wait(0), read)
})

test('before it neither may be read, nor A written', () => {
  refuses('E0606', read, ...start, fence, first, commit, read, wait(0))
  refuses('E0606', readA, ...start, fence, first, commit, readA, wait(0))
  refuses('E0606', loaded(30), ...start, fence, first, commit, loaded(30), wait(0))
})

test('a wait that leaves a group running does not cover the latest', () => {
  refuses('E0606', read, ...start, fence, first, commit, second, commit, wait(1), read, wait(0))
  refuses('E0606', loaded(40), ...start, fence, first, commit, second, commit, wait(1), loaded(40), wait(0))
})

test('more wgmmas may add to running accumulators and read running fragments', () => {
  accepts(...start, fence, first, first, second, commit, wait(0), read)
  accepts(...start, fence, first, commit, first, commit, wait(0), read)
})

test('two buffers of A take turns in a loop, one does not', () => {
  const turn = (a: number) => [loaded(a), fence, wgmma(20, a), commit, wait(1)]
  accepts(zeroed(20), ...loop(...turn(30), ...turn(40)), wait(0), read)
  refuses('E0606', loaded(30), zeroed(20), ...loop(...turn(30)), wait(0), read)
  accepts(zeroed(20), ...loop(loaded(30), fence, first, commit, wait(0)), read)
})

test('a register of another type is the one that it is made of', () => {
  const pair = '%50: f16x2 = add %51, %51'
  const words = ['%51: f16x2 = move 0:f16x2', loaded(60)]
  const retyped = '%30: u32 = bitcast %50'
  const product = wgmma(20, 30).replace('%31, %32, %33', '%61, %62, %63')
  const before = [zeroed(20), ...words]
  refuses('E0606', pair, ...before, ...loop(pair, wait(0), retyped, fence, product, commit), wait(0))
  accepts(...before, ...loop(wait(0), pair, retyped, fence, product, commit), wait(0))
})

test('a wait under a condition covers its own path alone', () => {
  const condition = ['%3: bool = compare relation=gt %1, 3:i32', 'if %3 {', wait(0), '}']
  refuses('E0606', read, ...start, fence, first, commit, ...condition, read, wait(0))
  accepts(...start, fence, first, commit, 'if 1:bool {', wait(0), '} else {', wait(0), '}', read)
})

test('a fence stands before the first wgmma, and behind ordinary accesses', () => {
  refuses('E0607', first, ...start, first, commit, wait(0))
  refuses('E0607', first, ...start, fence, loaded(30), first, commit, wait(0))
  refuses('E0607', first, ...start, fence, '%21: i32 = move 4:i32', first, commit, wait(0))
  refuses('E0607', second, ...start, fence, first, commit, wait(0), read, second, commit, wait(0))
  accepts(...start, fence, first, commit, wait(0), readA, first, commit, wait(0))
})

test('a fence missing at the end of an iteration shows in the next', () => {
  refuses('E0607', first, ...start, fence, ...loop(first, commit, wait(0), read))
  accepts(...start, ...loop(fence, first, commit, wait(0), read))
})

test('a wait for everything wants everything committed, and the end of the kernel everything waited for', () => {
  refuses('E0608', wait(0), ...start, fence, first, wait(0))
  refuses('E0608', first, ...start, fence, first, commit)
  refuses('E0608', first, ...start, fence, first, commit, 'if 1:bool {', 'return', '}', wait(0))
})

test.run()
