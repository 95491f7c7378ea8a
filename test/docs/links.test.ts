import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/dist\/$/, '/')

const pages = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].map((name) => join(root, name)),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(root, 'docs', name)),
]

/** A page without its code. */
const prose = (path: string): string => readFileSync(path, 'utf8').replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '')

/** The anchors that the headings of a page make. */
const anchors = (path: string): string[] =>
  [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

test('every link of the documents leads to a file that exists, and to a heading of it', () => {
  const dead = pages.flatMap((page) =>
    [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => link!)
      .filter((link) => !/^[a-z]+:/.test(link))
      .filter((link) => {
        const [path, anchor] = link.split('#')
        const target = path === '' ? page : resolve(dirname(page), path!)
        return !existsSync(target) || (anchor !== undefined && !anchors(target).includes(anchor))
      })
      .map((link) => `${relative(root, page)}: ${link}`),
  )
  assert.equal(dead, [])
})

test('every page and example is reached from the README or a page that it links to', () => {
  const linked = new Set(
    pages.flatMap((page) =>
      [...prose(page).matchAll(/\]\(([^)#\s]+)/g)].map(([, link]) => resolve(dirname(page), link!)),
    ),
  )
  const unreached = [
    ...pages.filter((page) => !relative(root, page).includes('decisions')),
    ...readdirSync(join(root, 'docs/images'))
      .filter((name) => name.endsWith('.svg'))
      .map((name) => join(root, 'docs/images', name)),
  ].filter((path) => !linked.has(path) && !/(README|CHANGELOG)\.md$/.test(path))
  assert.equal(
    unreached.map((path) => relative(root, path)),
    [],
  )
})

test.run()
