import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { draw, parseLayout } from '../../dsl/layout/index.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import { assertRefused, runCli, temporaryFolder } from '../support/run-cli.ts'

test('a layout is drawn as text, or as an image where a file asks for one', async () => {
  const shown = await runCli('draw', '(4, 8):(8, 1)')
  assert.equal(shown, { code: 0, out: `${draw(parseLayout('(4,8):(8,1)'), 'text').trimEnd()}\n`, err: '' })
  assert.match((await runCli('draw', '(4,8):(8,1)', '--svg')).out, /^<svg/)
  const folder = temporaryFolder()
  const saved = await runCli('draw', '(4,8):(8,1)', '--out', join(folder, 'a.svg'))
  assert.equal(saved, { code: 0, out: '', err: '' })
  assert.match(readFileSync(join(folder, 'a.svg'), 'utf8'), /^<svg[\s\S]*<\/svg>\n$/)
  assert.equal(readdirSync(folder), ['a.svg'])
})

test('every name that the help lists can be drawn, and every weight format is among them', async () => {
  const { out } = await runCli('draw', '--help')
  const names = out.match(/Names: ([^\n]*)/)![1]!.split(', ')
  for (const format of Object.values(weightFormats)) assert.ok(names.includes(format.name), format.name)
  for (const name of names) assert.is((await runCli('draw', name)).code, 0, name)
})

test('what cannot be drawn is refused in one sentence', async () => {
  assertRefused(await runCli('draw', 'm16n8k32.u8s8.d'), "did you mean 'm16n8k32.u8s8.")
  assertRefused(await runCli('draw', 'a picture'), 'nothing called', 'Give a layout such as')
  assertRefused(await runCli('draw', '(4,8)'), 'has a shape and no stride. Give a layout such as')
  assertRefused(await runCli('draw', '(4,8):(8'), '(4,8):(8')
  assertRefused(
    await runCli('draw', '(4,8):(8,1)', '-o', '/nonexistent/a.svg'),
    'quattuor: /nonexistent does not exist',
  )
})

test.run()
