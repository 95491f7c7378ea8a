import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

/**
 * The list of what a kernel may call, in docs/language.md, is made of the docstrings of the declarations.
 * UPDATE=1 writes it anew.
 */
const fileOf = (path: string): string =>
  fileURLToPath(new URL(`../../${path}`, import.meta.url)).replace('/dist/', '/')
const page = fileOf('docs/language.md')
const heading = '## What a kernel may call'

/** Name and first sentence or sentences of each exported function or value of a file; overloads once. */
function declarations(path: string): Map<string, string> {
  const found = new Map<string, string>()
  const pattern = /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?export (?:function|const) (\w+)/g
  for (const [, doc = '', name] of readFileSync(fileOf(path), 'utf8').matchAll(pattern)) {
    const text = doc
      .replace(/^\s*\* ?/gm, ' ')
      .replace(/\s+/g, ' ')
      .trim()
    if (!found.get(name!)) found.set(name!, text)
  }
  return found
}

const sections: readonly (readonly [title: string, path: string])[] = [
  ['Intrinsics', 'dsl/intrinsics.ts'],
  ['Asynchronous copies and barriers', 'dsl/async.ts'],
  ['Warpgroups, clusters and launches', 'dsl/warpgroups.ts'],
  ['Reductions', 'dsl/std/reduce.ts'],
  ['Rows and tiles', 'dsl/std/tile.ts'],
  ['The ring of copies', 'dsl/std/pipeline.ts'],
  ['The ring of the copy engine', 'dsl/std/ring.ts'],
  ['Roles of warps', 'dsl/std/specialize.ts'],
  ['Tiles of a product', 'dsl/std/product-tiles.ts'],
  ['Tiles that CTAs share along K', 'dsl/std/tile-pieces.ts'],
  ['Bytes in words', 'dsl/std/bytes.ts'],
  ['Epilogues of matrix products', 'dsl/std/epilogue.ts'],
  ['Correctly rounded functions', 'dsl/std/exact.ts'],
]

function list(): string {
  const parts = sections.map(([title, path]) => {
    const rows = [...declarations(path)].map(
      ([name, doc]) => `| \`${name}\` | ${doc.replaceAll('|', '\\|')} |`,
    )
    return [`### ${title}`, '', '| name | what it does |', '|---|---|', ...rows].join('\n')
  })
  return [
    heading,
    '',
    'Intrinsics become the PTX that stands beside them; the rest is library code, written in the language itself.',
    'The signatures are in `dsl/intrinsics.ts`, `dsl/async.ts`, `dsl/warpgroups.ts` and `dsl/std/`, and in the editor.',
    '',
    parts.join('\n\n'),
  ].join('\n')
}

test('docs/language.md lists all that a kernel may call', () => {
  const text = readFileSync(page, 'utf8')
  const start = text.indexOf(heading)
  const current = start < 0 ? '' : text.slice(start).trimEnd()
  if (process.env.UPDATE === '1') {
    writeFileSync(page, `${(start < 0 ? text : text.slice(0, start)).trimEnd()}\n\n${list()}\n`)
    return
  }
  assert.fixture(current, list())
})

test('everything that a kernel may call says what it does', () => {
  const silent = sections.flatMap(([, path]) =>
    [...declarations(path)].filter(([, doc]) => doc === '').map(([name]) => `${path}: ${name}`),
  )
  assert.equal(silent, [])
})

test.run()
