import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { Diagnostic } from '../../../codegen/diagnostics.ts'
import { sourceOf } from '../../../codegen/frontend/names.ts'
import { kernelAt } from '../../support/kernel-text.ts'

/** Writes files into a folder of their own for the time of `use`. */
function withFiles(files: Readonly<Record<string, string>>, use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-names-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const body = (
  value: string,
  imports = '',
) => `import { kernel, threadIdx, type f32, type Out } from 'quattuor'
${imports}
export const k = kernel(import.meta.url, { grid: () => [1], block: [32] }, function k(a: { out: Out<f32, 'N'> }) {
  a.out.put(${value}, threadIdx.x)
})
`

const compile = (path: string) => compileKernel(kernelAt(pathToFileURL(path).href, 'k', 32), {}, 'sm_80')

test('names come through imports, renamings, re-exports and namespaces', () => {
  const files = {
    'kernel.ts': body(
      'one + renamed(1) + all.deep.value + chosen',
      `import { one, two as renamed } from './barrel.ts'
import * as all from './barrel.ts'
import chosen from './other.ts'`,
    ),
    'barrel.ts': `export * from './leaf.ts'
export { inner as two } from './folder/inner.ts'
import { value } from './folder/inner.ts'
export const deep = { value }`,
    'leaf.ts': 'export const one = 1',
    'folder/inner.ts': 'export const value = 100\nexport function inner(x: number) { return x * 10 }',
    'other.ts': 'const unused = missing()\nexport { three as default }\nconst three = 1000',
  }
  withFiles(files, (folder) => {
    const { ptx, sources } = compile(join(folder, 'kernel.ts'))
    assert.match(ptx, /0f448AE000/, '1111 as an f32')
    const expected = Object.keys(files)
      .map((name) => join(folder, name))
      .map((path) => ({ path, sha256: createHash('sha256').update(readFileSync(path)).digest('hex') }))
    const own = sources.filter((s) => s.path.startsWith(folder))
    assert.is(own[0]!.path, join(folder, 'kernel.ts'), 'the files of .loc lines come first')
    const byPath = (a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1)
    assert.equal([...own].sort(byPath), expected.sort(byPath))
  })
})

test('a changed source is read again', () => {
  withFiles({ 'kernel.ts': body('2') }, (folder) => {
    const path = join(folder, 'kernel.ts')
    const before = compile(path).sources[0]!.sha256
    writeFileSync(path, body('3'))
    const { ptx, sources } = compile(path)
    assert.match(ptx, /0f40400000/)
    assert.is.not(sources[0]!.sha256, before)
  })
})

test('what only the host uses is never looked at', () => {
  const imports = `import { readFileSync } from 'node:fs'
import { host } from './absent.ts'
export const data = () => host(readFileSync('x'))`
  withFiles({ 'kernel.ts': body('1', imports) }, (folder) => {
    assert.ok(compile(join(folder, 'kernel.ts')).ptx)
  })
})

test('compiled JavaScript leads to its source by its map, or by its place outside dist', () => {
  const map = JSON.stringify({ sources: ['../../source/kernel.ts'] })
  const files = {
    'source/kernel.ts': body('1'),
    'dist/kernels/kernel.js': '',
    'dist/kernels/kernel.js.map': map,
    'kernels/plain.ts': body('1'),
    'dist/kernels/plain.js': '',
  }
  withFiles(files, (folder) => {
    assert.is(sourceOf(join(folder, 'dist/kernels/kernel.js')), join(folder, 'source/kernel.ts'))
    assert.is(sourceOf(join(folder, 'dist/kernels/plain.js')), join(folder, 'kernels/plain.ts'))
    assert.is(sourceOf(join(folder, 'dist/kernels/none.js')), undefined)
  })
})

test('a missing source is a diagnostic that says how to ship it', () => {
  try {
    compile('/nowhere/dist/kernel.js')
    assert.unreachable()
  } catch (error) {
    assert.instance(error, Diagnostic)
    assert.is((error as Diagnostic).code, 'E0003')
    assert.match((error as Diagnostic).context.help!, /ship the \.ts files/)
  }
})

test.run()
