import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../codegen/compile.ts'
import { Diagnostic } from '../../codegen/diagnostics.ts'
import { operatorRules } from '../../codegen/frontend/evaluate/operators.ts'
import { kernelAt, withKernelFile } from '../support/kernel-text.ts'
import { listKernels } from '../support/list-kernels.ts'

const path = join(resolve(dirname(fileURLToPath(import.meta.url)), '../..'), 'docs/language.md')

function operatorTable(): string {
  const rows = Object.entries(operatorRules).map(([operator, { types, ptx }]) => {
    const shown = operator.replaceAll('|', '\\|')
    return `| \`${shown}\` | ${types.join(', ')} | \`${ptx.replace(/ \((.*)\)$/, '` ($1)')}${ptx.endsWith(')') ? '' : '`'} |`
  })
  return ['| operator | types | PTX |', '|---|---|---|', ...rows].join('\n')
}

/** The page with its generated table. */
function page(text: string): string {
  const [before, rest] = text.split('<!-- operators -->')
  const after = rest!.split('<!-- /operators -->')[1]!
  return `${before}<!-- operators -->\n${operatorTable()}\n<!-- /operators -->${after}`
}

test('the table of operators is the one that the compiler uses', () => {
  const text = readFileSync(path, 'utf8')
  if (process.env.UPDATE) writeFileSync(path, page(text))
  assert.is(readFileSync(path, 'utf8'), page(text))
})

const examples = [...readFileSync(path, 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!)

const names =
  'threadIdx, range, unroll, regs, f32, i32, kernel, type f16, type In, type Out, load, store, shared'

const asKernel = (body: string): string =>
  body.startsWith('import')
    ? body
    : `import { ${names} } from 'quattuor'
export const example = kernel(import.meta.url, { grid: () => [1], block: [32] }, function example(
  a: { x: In<f32, 'N'>; y: In<i32, 'N'>; out: Out<f32, 'N'>; limit: i32 },
) {
  const i = threadIdx.x
${body}
})`

/** The line that the text calls refused, and how. */
const refused = { text: 'a static index only', code: 'E0212' }

for (const [n, example] of examples.entries()) {
  const target = /\b(barriers|wgmma)\(/.test(example) ? 'sm_90a' : 'sm_80'
  test(`example ${n + 1} of docs/language.md compiles`, async () => {
    await withKernelFile(asKernel(example), async (url) => {
      const [name] = listKernels(fileURLToPath(url))
      try {
        compileKernel(kernelAt(url, name!, target === 'sm_90a' ? 128 : 64), {}, target)
        assert.not(example.includes(refused.text), 'the refused line compiles')
      } catch (error) {
        if (!(error instanceof Diagnostic) || !example.includes(refused.text)) throw error
        assert.is(error.code, refused.code)
      }
    })
    if (!example.includes(refused.text)) return
    const without = example
      .split('\n')
      .filter((line) => !line.includes(refused.text))
      .join('\n')
    await withKernelFile(asKernel(without), async (url) => {
      assert.ok(compileKernel(kernelAt(url, 'example', 32), {}, 'sm_80').ptx)
    })
  })
}

test.run()
