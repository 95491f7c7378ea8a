import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
const [{ files }] = JSON.parse(
  execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  }),
)
const packed: string[] = files.map((file: { path: string }) => file.path)

/** Modules that a module needs, by their paths from the root. */
function neededBy(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found
  found.add(file)
  const text = readFileSync(resolve(root, file), 'utf8')
  for (const [, path] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g))
    neededBy(relative(root, resolve(root, dirname(file), path!)), found)
  return found
}

test('of the benches, the package has what the command line needs, and nothing else', () => {
  const needed = [...neededBy('cli/bench.ts')].filter((path) => path.startsWith('bench/'))
  assert.ok(needed.length > 5)
  const { files: patterns } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as {
    files: string[]
  }
  const isPacked = (path: string) => {
    const built = `dist/${path.replace(/\.ts$/, '')}`
    return patterns.some(
      (pattern) => pattern === `${built}.*` || (built.startsWith(`${pattern}/`) && pattern !== 'dist'),
    )
  }
  assert.equal(
    needed.filter((path) => !isPacked(path)),
    [],
  )
  const names = new Set(needed.map((path) => path.replace(/\.ts$/, '')))
  assert.equal(
    packed.filter(
      (path) =>
        path.includes('bench/') &&
        !names.has(path.replace(/^dist\//, '').replace(/\.(d\.ts|js|js\.map)$/, '')),
    ),
    [],
  )
})

test('the package has the sources that the compiler reads, and no tests', () => {
  for (const folder of ['dsl', 'kernels']) {
    const sources = readdirSync(resolve(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => `${folder}/${path.replaceAll('\\', '/')}`)
    assert.equal(
      sources.filter((path) => !packed.includes(path)),
      [],
    )
  }
  assert.equal(
    packed.filter((path) => /(^|\/)test\//.test(path)),
    [],
  )
})

test("the package has the tuner's records", () => {
  const records = readdirSync(resolve(root, 'kernels'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.jsonl'))
    .map((path) => `kernels/${path.replaceAll('\\', '/')}`)
  assert.equal(
    records.filter((path) => !packed.includes(path)),
    [],
  )
})

test("the package has the quantizer's recipes", () => {
  const recipes = readdirSync(resolve(root, 'quantize', 'recipes'))
  assert.ok(recipes.length > 5)
  assert.equal(
    recipes.filter((name) => !packed.includes(`quantize/recipes/${name}`)),
    [],
  )
})

test('the package has the page of the server and its parts', () => {
  const parts = readdirSync(resolve(root, 'serve', 'http', 'playground'))
  assert.ok(parts.includes('page.html'))
  assert.equal(
    parts.filter((name) => !packed.includes(`serve/http/playground/${name}`)),
    [],
  )
})

test('the package has the documents and examples that its README links to, but for measurements', () => {
  const links = [...readFileSync(resolve(root, 'README.md'), 'utf8').matchAll(/\]\(([^)#:]+)\)/g)]
    .map(([, path]) => path!)
    .filter((path) => !path.startsWith('bench/'))
  assert.ok(links.length > 5)
  assert.equal(
    links.filter((link) => !packed.some((path) => path === link || path.startsWith(link))),
    [],
  )
})

test.run()
