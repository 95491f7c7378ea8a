import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../codegen/compile.ts'
import { ringCopies, ringProduct, scaleRows, sumRows } from '../support/golden-kernels.ts'
import { warpgroupProduct } from '../support/golden-wgmma.ts'
import { assemble } from '../support/ptxas.ts'

/**
 * The compiler's output for a few kernels, without positions: a change that should not move it does not, and one that
 * should is seen. `UPDATE_GOLDEN=1 npx tsx test/codegen/golden.test.ts` writes the files anew; read the difference.
 */
const test = suite('golden PTX')

const cases = [
  ['scaleRows', 'sm_80', () => compileKernel(scaleRows, { N: 1000 }, 'sm_80')],
  ['sumRows', 'sm_80', () => compileKernel(sumRows, {}, 'sm_80')],
  ['ringProduct', 'sm_80', () => compileKernel(ringProduct, { K: 512 }, 'sm_80')],
  ['ringProduct', 'sm_90a', () => compileKernel(ringProduct, { K: 512 }, 'sm_90a')],
  ['ringCopies', 'sm_90a', () => compileKernel(ringCopies, {}, 'sm_90a')],
  ['warpgroupProduct', 'sm_90a', () => compileKernel(warpgroupProduct, {}, 'sm_90a')],
] as const

/** Without `.loc`, `.file` and the names of inlined functions. */
const withoutPositions = (ptx: string): string =>
  ptx
    .replace(/^\.section \.debug_str \{[^}]*\}\n/m, '')
    .split('\n')
    .filter((line) => !/^\s*\.(loc|file) /.test(line))
    .join('\n')

for (const [name, target, compile] of cases) {
  test(`${name} for ${target}`, () => {
    const { ptx } = compile()
    assemble(ptx, target)
    const file = new URL(`../golden/${name}.${target}.ptx`, import.meta.url)
    const text = withoutPositions(ptx)
    if (process.env.UPDATE_GOLDEN || !existsSync(file)) writeFileSync(file, text)
    assert.fixture(text, readFileSync(file, 'utf8'), 'UPDATE_GOLDEN=1 writes the file anew')
  })
}

test.run()
