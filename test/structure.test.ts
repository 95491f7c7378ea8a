import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

/** What each folder may import besides itself: the table in CONTRIBUTING.md, transitively closed. */
const below: Record<string, readonly string[]> = {
  dsl: [],
  codegen: ['dsl'],
  runtime: ['codegen', 'dsl'],
  kernels: ['dsl'],
  checkpoint: ['dsl'],
  models: ['kernels', 'runtime', 'checkpoint', 'codegen', 'dsl'],
  quantize: ['models', 'kernels', 'runtime', 'checkpoint', 'codegen', 'dsl'],
  serve: ['models', 'kernels', 'runtime', 'checkpoint', 'codegen', 'dsl'],
}

function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) return sources(path)
    return entry.name.endsWith('.ts') ? [path] : []
  })
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(/(?:^|\n)\s*(?:import|export)\b[^'"\n]*?(?:from\s*)?['"](\.[^'"]+)['"]/g)]
    .concat([...text.matchAll(/\bimport\(\s*['"](\.[^'"]+)['"]/g)])
    .concat([...text.matchAll(/\}\s*from\s*['"](\.[^'"]+)['"]/g)])
    .map((match) => resolve(dirname(file), match[1] as string))
}

test('imports run downward: a folder imports only itself and the folders below it', () => {
  const upward: string[] = []
  for (const [folder, allowed] of Object.entries(below)) {
    for (const file of sources(join(root, folder))) {
      for (const target of importsOf(file)) {
        const other = relative(root, target).split('/')[0] as string
        if (other !== folder && !allowed.includes(other))
          upward.push(`${relative(root, file)} imports ${relative(root, target)}`)
      }
    }
  }
  assert.equal(upward, [])
})

test('only codegen/frontend/source.ts imports ts-morph, and nothing that ships imports typescript', () => {
  const found: string[] = []
  for (const folder of [...Object.keys(below), 'cli']) {
    for (const file of sources(join(root, folder))) {
      if (
        /from\s+['"](ts-morph|typescript)['"]|import\(['"](ts-morph|typescript)['"]\)/.test(
          readFileSync(file, 'utf8'),
        )
      ) {
        found.push(relative(root, file))
      }
    }
  }
  assert.equal(found, ['codegen/frontend/source.ts'])
})

test('no source file passes 600 lines', () => {
  const long = [...Object.keys(below), 'cli', 'examples', 'bench', 'test']
    .flatMap((folder) => sources(join(root, folder)))
    .map((file) => ({ file: relative(root, file), lines: readFileSync(file, 'utf8').split('\n').length }))
    .filter(({ lines }) => lines > 601)
  assert.equal(long, [])
})

test('every uvu file calls run()', () => {
  const silent = sources(join(root, 'test'))
    .filter((file) => /from ['"]uvu['"]/.test(readFileSync(file, 'utf8')) && file.endsWith('.test.ts'))
    .filter((file) => !/\.run\(\)/.test(readFileSync(file, 'utf8')))
    .map((file) => relative(root, file))
  assert.equal(silent, [])
})

test('the lock file has every platform of every package, without which npm ci refuses', () => {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>
  }
  const missing = Object.entries(packages).flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {}).filter(
      (name) => !packages[`${path}/node_modules/${name}`] && !packages[`node_modules/${name}`],
    ),
  )
  assert.equal(missing, [])
})

test.run()
