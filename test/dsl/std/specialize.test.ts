import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { Diagnostic } from '../../../codegen/diagnostics.ts'
import { type i32, kernel, type Out, type Role, specialize, threadIdx } from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { assemble } from '../../support/ptxas.ts'
import { runKernel } from '../../support/run-kernel.ts'

interface Config {
  readonly warps: readonly number[]
  readonly registers: readonly (number | null)[]
  readonly threads: number
  readonly ctas: number
}

/** Each thread writes the number of its role. */
export const roles = kernel(
  import.meta.url,
  {
    grid: () => [1],
    block: (c: Config) => [c.threads],
    blocksPerMultiprocessor: (c: Config) => c.ctas,
  },
  function roles(a: { out: Out<i32, 'T'> }, c: Config) {
    const entries = c.warps.map((warps, i): [string, Role] => [
      `role${i}`,
      {
        warps,
        registers: c.registers[i] ?? undefined,
        run: () => {
          a.out.put(i, threadIdx.x)
        },
      },
    ])
    specialize(Object.fromEntries(entries), c.ctas)
  },
)

const device = openEmulator({ checks: true })

/** What the roles do with registers, in their order. */
async function changes(
  warps: readonly number[],
  registers: readonly (number | null)[],
  ctas = 1,
): Promise<string[]> {
  const threads = 32 * warps.reduce((a, b) => a + b)
  const config = { warps, registers, threads, ctas }
  const { ptx } = compileKernel(roles, config, 'sm_90a')
  assemble(ptx, 'sm_90a')
  const { out } = await runKernel(device, roles, config, { out: { dtype: 'i32', shape: [threads] } })
  const expected = warps.flatMap((count, i) => new Array<number>(32 * count).fill(i))
  assert.equal([...out!], expected)
  return [...ptx.matchAll(/setmaxnreg\.(\w+).* (\d+);/g)].map(
    ([, direction, count]) => `${direction} ${count}`,
  )
}

test('roles take warps in their order', async () => {
  assert.equal(await changes([1, 2, 1], [null, null, null]), [])
  assert.equal(await changes([8, 1], [null, null]), [])
})

test('registers move from the roles that want less than the even share to those that want more', async () => {
  assert.equal(await changes([8, 4], [232, 40]), ['inc 232', 'dec 40'])
  assert.equal(await changes([4, 8], [24, 240]), ['dec 24', 'inc 240'])
  assert.equal(await changes([4, 4, 4], [168, null, 160]), ['dec 160'])
})

test('several CTAs of a multiprocessor share its registers', async () => {
  assert.equal(await changes([4, 4], [168, 80], 2), ['inc 168', 'dec 80'])
})

test('what cannot be is refused with what is there', () => {
  const refused = (warps: number[], registers: (number | null)[], threads: number): string => {
    try {
      compileKernel(roles, { warps, registers, threads, ctas: 1 }, 'sm_90a')
    } catch (error) {
      if (error instanceof Diagnostic) return error.message
      throw error
    }
    return 'compiles'
  }
  assert.match(refused([4, 4], [null, null], 384), 'the roles have 8 warps, and the CTA has 384 threads')
  assert.match(refused([8, 4], [240, 40], 384), 'want 66560 registers, and the CTA has 64512: 168 a thread')
  assert.match(refused([8, 1], [232, null], 288), 'want 64768 registers')
  assert.match(
    refused([8, 1], [160, 40], 288),
    'only whole warpgroups move registers, and this role has warps 8 to 8',
  )
})

test.run()
