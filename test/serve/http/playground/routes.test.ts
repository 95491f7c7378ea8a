import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../../../runtime/package-root.ts'
import { FakeRunner } from '../../../../serve/engine/fake-runner.ts'
import { nanoTokenizer, startService } from '../../../support/http-service.ts'

const { vocabSize } = nanoTokenizer
const folder = `${packageRoot()}/serve/http/playground`
const service = await startService({
  openRunner: ({ pages }) => new FakeRunner({ vocabSize, pages, pageTokens: 64 }),
  apiKeys: ['secret'],
})
const nonceOf = (policy: string) => /script-src 'nonce-([^']+)'/.exec(policy)![1]!

test.after(() => service.close())

test('the page needs no key, and may load nothing but its own parts', async () => {
  const response = await fetch(service.url)
  assert.is(response.status, 200)
  assert.is(response.headers.get('content-type'), 'text/html; charset=utf-8')
  const policy = response.headers.get('content-security-policy')!
  assert.match(policy, /default-src 'none'/)
  assert.not.match(policy, /unsafe|\*|https?:/)
  const html = await response.text()
  const nonce = nonceOf(policy)
  assert.is(html.split(`nonce="${nonce}"`).length, 3)
  // Nothing that the policy would keep from working, and nothing from elsewhere.
  assert.not.match(html, /style=|\son\w+=|https?:|src="\/\/|NONCE/)
  const again = await fetch(service.url)
  assert.is.not(nonceOf(again.headers.get('content-security-policy')!), nonce)
})

test('each part is served as it is in the sources, and no other file', async () => {
  const parts = readdirSync(folder).filter((name) => name !== 'page.html')
  assert.ok(parts.length >= 4)
  for (const name of parts) {
    const response = await fetch(`${service.url}/playground/${name}`)
    assert.is(response.status, 200, name)
    const type = name.endsWith('.css') ? 'text/css' : 'text/javascript'
    assert.is(response.headers.get('content-type'), `${type}; charset=utf-8`)
    assert.is(response.headers.get('x-content-type-options'), 'nosniff')
    assert.is(await response.text(), readFileSync(`${folder}/${name}`, 'utf8'))
  }
  for (const path of ['/playground/', '/playground/page.html', '/playground/..%2fserver.ts'])
    assert.is((await fetch(service.url + path)).status, 401, path)
})

test('HEAD answers as GET does, without the body; nothing else is taken', async () => {
  for (const path of ['/', '/playground/client.js']) {
    const [head, get] = await Promise.all(
      ['HEAD', 'GET'].map((method) => fetch(service.url + path, { method })),
    )
    assert.is(head!.status, 200)
    assert.is(await head!.text(), '')
    const bytes = Buffer.byteLength(await get!.text())
    assert.is(Number(head!.headers.get('content-length')), bytes)
    assert.is((await fetch(service.url + path, { method: 'POST', body: 'x' })).status, 405)
  }
})

test('scripts never read texts as HTML', () => {
  for (const name of readdirSync(folder).filter((name) => name.endsWith('.js')))
    assert.not.match(
      readFileSync(`${folder}/${name}`, 'utf8'),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|createContextualFragment/,
    )
})

test('the list of models says which converse', async () => {
  const answer = await fetch(`${service.url}/v1/models`, { headers: { authorization: 'Bearer secret' } })
  const { data } = (await answer.json()) as { data: { id: string; chat: boolean }[] }
  assert.equal(
    data.map(({ id, chat }) => [id, chat]),
    [['nano', true]],
  )
})

test.run()
