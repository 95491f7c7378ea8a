import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { targets } from '../../../codegen/target.ts'
import type { Kernel } from '../../../dsl/kernel.ts'
import { CompilePool } from '../../../runtime/tune/compile-pool.ts'

/** A kernel whose module is this source. */
const kernelIn = (source: string) =>
  ({ name: 'kernel', url: `data:text/javascript,${encodeURIComponent(source)}` }) as Kernel
const empty = kernelIn('export const other = 1')
const deadly = kernelIn('process.exit(3)')
const endless = kernelIn('setInterval(() => {}, 1000); await new Promise(() => {})')

const failureOf = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(
    () => assert.unreachable('it compiled'),
    (error: Error) => error,
  ) as Promise<Error>

test('a thread that ends fails what it had, which is no fault of the kernel, and another takes its place', async () => {
  const pool = new CompilePool(1)
  const compiled = [deadly, empty, deadly, empty].map((kernel) =>
    failureOf(pool.compile(kernel, {}, targets.sm_80)),
  )
  const errors = await Promise.all(compiled)
  assert.equal(
    errors.map(({ name }) => name),
    ['TuneError', 'CompileError', 'TuneError', 'CompileError'],
  )
  assert.match(errors[0]!.message, /a thread that compiles ended with code 3/)
  assert.match(errors[1]!.message, /exports no kernel kernel/)
  await pool.close()
})

test('closing fails what runs and what waits, as no fault of the kernels', async () => {
  const pool = new CompilePool(1)
  const compiled = [endless, empty].map((kernel) => failureOf(pool.compile(kernel, {}, targets.sm_80)))
  await new Promise((resolve) => setTimeout(resolve, 50))
  await pool.close()
  for (const { name } of await Promise.all(compiled)) assert.is(name, 'TuneError')
})

test.run()
