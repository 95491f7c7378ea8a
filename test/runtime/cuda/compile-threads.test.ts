import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { CompileRequest } from '../../../runtime/cuda/compile-thread.ts'
import { CompileThreads } from '../../../runtime/cuda/compile-threads.ts'
import { Context } from '../../../runtime/cuda/context.ts'
import { loadDriver } from '../../../runtime/cuda/driver.ts'
import { initialize } from '../../../runtime/cuda/properties.ts'
import { vectorAddPtx } from '../../support/vector-add.ts'
import { buildStub, type Stub } from './stub/stub.ts'

const built = buildStub()
const test = suite('Threads that compile')
if (!built) test.skip('needs a C compiler', () => {})
const stub = built as Stub
const check: typeof test = (built ? test : test.skip) as typeof test

/** More programs than there are threads. */
const many = 9
const request = (n: number, context = 0): CompileRequest => ({
  name: 'vectorAdd',
  ptx: `${vectorAddPtx('sm_80')}// ${n}\n`,
  context,
  load: false,
})

check('what is asked for while the threads end is compiled, too', async () => {
  stub.reset()
  const driver = loadDriver(stub.library)
  initialize(driver)
  const context = new Context(driver, 0)
  const threads = new CompileThreads(stub.library)
  stub.compile(1)
  for (let round = 0; round < 2; round++) {
    const compiled = await Promise.all(
      Array.from({ length: many }, (_, n) => threads.compile(request(n, context.handle))),
    )
    assert.equal(
      compiled.map(({ result, image }) => [result, image!.length > 0]),
      Array(many).fill([0, true]),
    )
  }
  context.close()
  assert.is(stub.live(), 0)
})

test('threads that die take the program that they had with them, and no other waits for ever', async () => {
  const threads = new CompileThreads('/no/such/libcuda.so')
  const outcomes = await Promise.allSettled(
    Array.from({ length: many }, (_, n) => threads.compile(request(n))),
  )
  for (const outcome of outcomes) {
    assert.is(outcome.status, 'rejected')
    assert.match(String((outcome as PromiseRejectedResult).reason), /the CUDA driver is not there/)
  }
})

test.run()
