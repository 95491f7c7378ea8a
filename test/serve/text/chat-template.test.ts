import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type ChatMessage, createChatTemplate, loadChatTemplate } from '../../../serve/text/chat-template.ts'
import { TextError } from '../../../serve/text/error.ts'
import { loadTokenizer } from '../../../serve/text/tokenizer.ts'
import { sharedPath } from '../../support/shared-models.ts'

interface ChatCase {
  readonly messages: readonly ChatMessage[]
  readonly rendered: string
  readonly input_ids: readonly number[]
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const nano = here('../../../examples/models/nano-w4a8kv4/')

function assertReproduces(folder: string, cases: readonly ChatCase[]): void {
  const template = loadChatTemplate(folder)!
  const tokenizer = loadTokenizer(folder)
  assert.ok(cases.length > 0)
  for (const { messages, rendered, input_ids } of cases) {
    assert.is(template.render(messages), rendered)
    assert.equal(tokenizer.encode(rendered, { addSpecial: false }), input_ids)
  }
}

test('the conversations of the nano model give the recorded text and ids', () => {
  assertReproduces(nano, JSON.parse(readFileSync(here('fixtures/nano-chat.json'), 'utf8')))
})

for (const name of ['nano', 'small']) {
  const folder = sharedPath(`models/${name}`)
  if (folder)
    test(`the golden conversations of ${name} give the recorded text and ids`, () => {
      const golden = JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8'))
      assertReproduces(folder, golden.fp32.chat_greedy)
      const tokenizer = loadTokenizer(folder)
      for (const { prompt, input_ids } of golden.fp32.greedy)
        assert.equal(tokenizer.encode(prompt), input_ids)
    })
}

test('the assistant turn is opened unless asked otherwise', () => {
  const template = loadChatTemplate(nano)!
  const messages = [{ role: 'user', content: ' hi ' }]
  const text = template.render(messages, { addGenerationPrompt: false })
  assert.is(text, '<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>')
  assert.is(template.render(messages), `${text}<|start_header_id|>assistant<|end_header_id|>\n\n`)
})

test('a template that refuses a conversation is quoted, and one that does not parse is named', () => {
  const tokens = { bosToken: '<s>', eosToken: '</s>' }
  const picky = createChatTemplate('m', "{{ raise_exception('roles must alternate') }}", tokens)
  assert.throws(
    () => picky.render([]),
    (error: unknown) => error instanceof TextError && error.message.endsWith('roles must alternate'),
  )
  assert.throws(
    () => createChatTemplate('dir/x.jinja', '{% for %}', tokens),
    /^dir\/x\.jinja: .*not valid Jinja/,
  )
  assert.throws(() => createChatTemplate('x', ' '.repeat(2_000_000), tokens), 'is refused')
})

const noTokens = { bosToken: '', eosToken: '' }

test('a template that loops is stopped at its deadline, and the next rendering is as before', () => {
  const source =
    '{% if messages %}{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}{% endif %}ok'
  const template = createChatTemplate('m', source, noTokens, { milliseconds: 100, characters: 100 })
  const start = performance.now()
  assert.throws(
    () => template.render([{ role: 'user', content: 'x' }]),
    (error: unknown) =>
      error instanceof TextError && error.message.includes('took longer than 100 ms on these messages'),
  )
  assert.ok(performance.now() - start < 20_000)
})

test('a template that writes without end is stopped by the length of its text', () => {
  const doubling =
    '{% set n = namespace(x="ab") %}{% for i in range(20) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}'
  const limits = { milliseconds: 1000, characters: 1000 }
  const template = createChatTemplate('m', doubling, noTokens, limits)
  assert.throws(() => template.render([]), 'makes 2097152 characters of these messages, more than 1000')
})

test('values nested as deep as a request can bring them are an error of the conversation', () => {
  let deep: unknown = 1
  for (let i = 0; i < 100_000; i++) deep = [deep]
  const template = createChatTemplate('m', '{{ messages | tojson }}', noTokens)
  assert.throws(
    () => template.render([{ role: 'user', content: deep }]),
    (error: unknown) => error instanceof TextError,
  )
})

test('tools and the end token reach the template', () => {
  const template = createChatTemplate('m', '{{ tools | length if tools else 0 }}{{ eos_token }}', {
    bosToken: '',
    eosToken: '</s>',
  })
  assert.is(template.render([]), '0</s>')
  assert.is(template.render([], { tools: [{}, {}] }), '2</s>')
})

test('a template is found in its own file, in a list, or nowhere', () => {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-chat-'))
  try {
    const config = (value: unknown) =>
      writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(value))
    assert.is(loadChatTemplate(folder), undefined)
    config({ bos_token: { content: '<s>' } })
    assert.is(loadChatTemplate(folder), undefined)
    const chat_template = [
      { name: 'tool_use', template: 'tool' },
      { name: 'default', template: '{{ bos_token }}list' },
    ]
    config({ bos_token: { content: '<s>' }, chat_template })
    assert.is(loadChatTemplate(folder)!.render([]), '<s>list')
    writeFileSync(join(folder, 'chat_template.jinja'), '{{ bos_token }}file')
    assert.is(loadChatTemplate(folder)!.render([]), '<s>file')
    config({ bos_token: 3 })
    assert.throws(() => loadChatTemplate(folder), 'bos_token')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test.run()
