import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { errorCodes } from '../../codegen/error-codes.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const folder = join(root, 'test/errors')

/** What the compiler says about each example of a code. */
function examples(code: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith(code))
    .map((name) => {
      const text = readFileSync(join(folder, name), 'utf8')
      return text.slice(text.lastIndexOf('/*\n') + 3, text.lastIndexOf('\n*/'))
    })
}

function page(): string {
  const lines = [
    '# Errors of the kernel compiler',
    '',
    'Each code, why it exists, and what it looks like. The examples are the files of `test/errors`; this page is',
    'written from `codegen/error-codes.ts` and those files by `UPDATE=1 npx tsx test/codegen/error-docs.test.ts`.',
    '',
  ]
  for (const [code, { title, why }] of Object.entries(errorCodes)) {
    lines.push(`## ${code}: ${title}`, '', why, '')
    for (const example of examples(code)) lines.push('```text', example, '```', '')
  }
  return lines.join('\n')
}

test('docs/errors.md is what the table and the examples give', () => {
  const path = join(root, 'docs/errors.md')
  if (process.env.UPDATE) writeFileSync(path, page())
  assert.is(readFileSync(path, 'utf8'), page())
})

test.run()
