import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { inspect } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../codegen/compile.ts'
import { Diagnostic } from '../../codegen/diagnostics.ts'
import { errorCodes } from '../../codegen/error-codes.ts'
import type { TargetName } from '../../codegen/target.ts'
import type { Kernel } from '../../dsl/kernel.ts'

/**
 * Each file of `test/errors` holds a kernel named `bad` and, in its last comment, what the compiler says about it.
 * Lines `// config: {…}`, `// block: […]`, `// cluster: …` and `// target: …` change the defaults. `UPDATE=1` rewrites the comments.
 */
const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const folder = join(root, 'test/errors')
const files = readdirSync(folder).filter((name) => name.endsWith('.ts'))

function setting(text: string, name: string, otherwise: string): string {
  return new RegExp(`^// ${name}: (.*)$`, 'm').exec(text)?.[1] ?? otherwise
}

function compileFile(file: string, text: string): string {
  const block = JSON.parse(setting(text, 'block', '[32]')) as [number]
  const cluster = setting(text, 'cluster', '')
  const kernel: Kernel = {
    name: 'bad',
    url: pathToFileURL(file).href,
    options: { grid: () => [1], block, ...(cluster && { cluster: () => Number(cluster) }) },
  }
  const config = JSON.parse(setting(text, 'config', '{}')) as unknown
  try {
    compileKernel(kernel, config, setting(text, 'target', 'sm_80') as TargetName)
    return 'compiles'
  } catch (error) {
    if (error instanceof Diagnostic) return error.render(root)
    throw error
  }
}

for (const name of files) {
  test(`${name} gives the diagnostic that it states`, () => {
    const file = join(folder, name)
    const text = readFileSync(file, 'utf8')
    const actual = compileFile(file, text)
    const start = text.lastIndexOf('/*\n')
    if (process.env.UPDATE) {
      const code = start < 0 ? `${text.trimEnd()}\n\n` : text.slice(0, start)
      writeFileSync(file, `${code}/*\n${actual}\n*/\n`)
    } else {
      assert.is(actual, text.slice(start + 3, text.lastIndexOf('\n*/')))
    }
    assert.is(actual.slice(0, 5), name.slice(0, 5), 'the code is that of the file name')
  })
}

test('an error that nobody catches is printed as its code frame alone', () => {
  const span = { source: { path: join(root, 'k.ts'), text: 'a + b', lineStarts: [0] }, start: 0, end: 5 }
  const error = new Diagnostic('E0101', '+ mixes f32 and i32', { span, help: 'a + f32(b)' })
  assert.is(inspect(error, { customInspect: false }), `[${error.stack}]`)
})

/** E0010 comes from `checkFile` alone; E0604 from IR alone, as the compiler finds a way for all that the language has. */
const shownElsewhere = ['E0010', 'E0604']

test('every code has a file', () => {
  const shown = new Set([...files.map((name) => name.slice(0, 5)), ...shownElsewhere])
  assert.equal(
    Object.keys(errorCodes).filter((code) => !shown.has(code)),
    [],
  )
})

test('the JSON form has the code, the range and the help', () => {
  const file = join(folder, 'E0105-integer-division.ts')
  const kernel: Kernel = {
    name: 'bad',
    url: pathToFileURL(file).href,
    options: { grid: () => [1], block: [32] },
  }
  try {
    compileKernel(kernel, {}, 'sm_80')
    assert.unreachable()
  } catch (error) {
    const json = JSON.parse(JSON.stringify(error)) as Record<string, unknown>
    assert.is(json.code, 'E0105')
    assert.is((json.range as { file: string }).file, file)
    assert.match(json.help as string, /^idiv\(/)
  }
})

test.run()
