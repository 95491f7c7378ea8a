import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadChatTemplate } from '../../../serve/text/chat-template.ts'
import { TextError } from '../../../serve/text/error.ts'
import { TextThreads } from '../../../serve/text/text-threads.ts'
import { nanoFolder, nanoTokenizer } from '../../support/http-service.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-text-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

/** The example model's folder with another chat template. */
function folderWith(template: string): string {
  const folder = mkdtempSync(join(root, 'model-'))
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(nanoFolder, name), join(folder, name))
  const path = join(folder, 'tokenizer_config.json')
  const config = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...config, chat_template: template }))
  return folder
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    assert.instance(error, TextError)
    return error as Error
  }
  throw new Error('it did not fail')
}

const ids = (text: string, addSpecial = true) => nanoTokenizer.encode(text, { addSpecial })

test('many texts at once, in two threads, give each its own ids', async () => {
  const threads = new TextThreads(nanoFolder, { threads: 2 })
  const texts = Array.from({ length: 60 }, (_, i) => `text ${'ab '.repeat(i * 7)}${i}`)
  const encoded = await Promise.all(texts.map((text, i) => threads.encodeText(text, i % 2 === 0)))
  for (const [i, text] of texts.entries()) assert.equal([...encoded[i]!], ids(text, i % 2 === 0))
  const messages = [{ role: 'user', content: 'hi' }]
  const rendered = loadChatTemplate(nanoFolder)!.render(messages)
  assert.equal([...(await threads.encodeChat(messages, undefined))], ids(rendered, false))
  await threads.close()
})

test('a template that refuses, loops or fills the memory costs its own request alone', async () => {
  const bad = folderWith(
    `{% if messages[0].content == 'refuse' %}{{ raise_exception('no') }}
{% elif messages[0].content == 'fill' %}{% set n = namespace(x=[]) %}{% for i in range(2000) %}{% set n.x = n.x + range(100000) %}{% endfor %}
{% else %}{{ messages[0].content }}{% endif %}`,
  )
  const threads = new TextThreads(bad, { threads: 1, megabytes: 64 })
  const chat = (content: string) => threads.encodeChat([{ role: 'user', content }], undefined)
  const [refused, filled, fine] = await Promise.all([
    failure(chat('refuse')),
    failure(chat('fill')),
    chat('fine'),
  ])
  assert.match(refused.message, "the model's chat template refuses these messages: no")
  assert.match(filled.message, /too much memory|took longer/)
  assert.equal([...fine], ids('fine', false))
  await threads.close()
})

test('a task that takes too long is given up, and the next one is done', async () => {
  const threads = new TextThreads(nanoFolder, { threads: 1, taskMilliseconds: 1 })
  assert.match((await failure(threads.encodeText('a '.repeat(1e6), true))).message, 'took too long')
  await threads.close()
  const patient = new TextThreads(nanoFolder, { threads: 1 })
  assert.equal([...(await patient.encodeText('a', true))], ids('a'))
  await patient.close()
})

test('what waits when threads are closed is told so', async () => {
  const threads = new TextThreads(nanoFolder, { threads: 1 })
  const waiting = [threads.encodeText('a', true), threads.encodeText('b', true)].map(failure)
  await threads.close()
  for (const error of await Promise.all(waiting)) assert.match(error.message, 'shutting down')
})

test.run()
