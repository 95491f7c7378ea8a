import type OpenAI from 'openai'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { FakeRunner } from '../../../serve/engine/fake-runner.ts'
import { createChatTemplate } from '../../../serve/text/chat-template.ts'
import { nanoTokenizer, startService } from '../../support/http-service.ts'

const { vocabSize } = nanoTokenizer
/** Few pages, so that requests give theirs up to each other; and a process that dies now and then. */
let steps = 0
let deaths = 0
const service = await startService({
  limits: { pages: 10, sequences: 12, tokens: 96, watermark: 0 },
  openRunner: ({ pages }) =>
    new FakeRunner({
      vocabSize,
      pages,
      pageTokens: 64,
      wholeContext: true,
      onStep: () => {
        if (++steps % 151 !== 150 || deaths >= 6) return
        deaths++
        throw new Error('the process died')
      },
    }),
  chatTemplate: createChatTemplate(
    'test',
    `{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}`,
    { bosToken: '', eosToken: '' },
  ),
})
const { client, engine, close } = service
test.after(close)

const messages = [{ role: 'user' as const, content: 'Tell me of a fox.' }]
const ask = (body: object): Promise<OpenAI.ChatCompletion> =>
  client.chat.completions.create({ model: 'nano', messages, max_tokens: 250, ...body } as never) as never

const fox = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 12 },
    age: { type: 'integer', minimum: 1, maximum: 14 },
    colors: { type: 'array', items: { enum: ['red', 'grey', 'white'] }, minItems: 1, maxItems: 3 },
    tail: { anyOf: [{ type: 'null' }, { type: 'boolean' }] },
  },
  required: ['name', 'age', 'colors'],
  additionalProperties: false,
}
const schemaFormat = { type: 'json_schema', json_schema: { name: 'fox', strict: true, schema: fox } }

function assertIsFox(text: string): void {
  const { name, age, colors, tail = null, ...others } = JSON.parse(text)
  assert.equal(others, {}, text)
  assert.ok(typeof name === 'string' && Array.from(name).length <= 12, text)
  assert.ok(Number.isInteger(age) && age >= 1 && age <= 14, text)
  assert.ok(colors.length >= 1 && colors.length <= 3, text)
  assert.ok(
    colors.every((color: string) => ['red', 'grey', 'white'].includes(color)),
    text,
  )
  assert.ok(tail === null || typeof tail === 'boolean', text)
}

test('a JSON Schema is followed by every choice, alone and among others, with the same texts', async () => {
  const bodies = Array.from({ length: 10 }, (_, seed) => ({
    response_format: schemaFormat,
    n: 2,
    seed: 100 * seed,
  }))
  const together = await Promise.all(bodies.map(ask))
  for (const [i, { choices }] of together.entries()) {
    for (const { message, finish_reason } of choices) {
      assertIsFox(message.content!)
      assert.is(finish_reason, 'stop')
    }
    if (i >= 3) continue
    const alone = await ask(bodies[i]!)
    assert.equal(
      alone.choices.map(({ message }) => message.content),
      choices.map(({ message }) => message.content),
    )
  }
  assert.ok(engine.stats.preemptions > 0, 'no sequence gave up its pages')
  assert.ok(engine.stats.restarts > 0, 'no process died')
})

test('the pieces of a stream are the same text', async () => {
  const body = { response_format: schemaFormat, seed: 7 }
  const whole = await ask(body)
  const stream = client.chat.completions.stream({ model: 'nano', messages, ...body } as never)
  const { choices } = await stream.finalChatCompletion()
  assert.is(choices[0]!.message.content, whole.choices[0]!.message.content)
  assertIsFox(choices[0]!.message.content!)
})

test('the client parses what it asked for', async () => {
  const { choices } = await client.chat.completions.parse({
    model: 'nano',
    messages,
    seed: 3,
    response_format: schemaFormat as never,
  })
  assertIsFox(JSON.stringify(choices[0]!.message.parsed))
})

test('any object, a regular expression and a choice are followed, also in completions', async () => {
  const complete = async (body: object) => {
    const answer = await client.completions.create({ model: 'nano', prompt: 'x', ...body } as never)
    return (answer as OpenAI.Completion).choices[0]!
  }
  const object = await complete({ response_format: { type: 'json_object' }, max_tokens: 300, seed: 5 })
  if (object.finish_reason === 'stop') assert.type(JSON.parse(object.text), 'object')
  assert.is(object.text[0], '{')
  for (let seed = 0; seed < 8; seed++) {
    const max_tokens = 40
    const { text } = await complete({ guided_regex: '[a-c]{2,5}(-\\d+)?!', seed, max_tokens })
    assert.match(text, /^[a-c]{2,5}(-\d+)?!$|^[a-c]{2,5}-\d+$/)
    const choice = await complete({ structured_outputs: { choice: ['yes', 'no', 'perhaps'] }, seed })
    assert.ok(['yes', 'no', 'perhaps'].includes(choice.text), choice.text)
    assert.is(choice.finish_reason, 'stop')
    const guided = await complete({ guided_json: JSON.stringify(fox), seed, max_tokens: 300 })
    assertIsFox(guided.text)
  }
})

const tools = [
  { type: 'function', function: { name: 'find_fox', parameters: fox } },
  { type: 'function', function: { name: 'rest' } },
]

test('a tool that has to be called is, with arguments that its schema allows', async () => {
  for (let seed = 0; seed < 6; seed++) {
    const named = { type: 'function', function: { name: 'find_fox' } }
    for (const choice of [named, 'required']) {
      const body = { tools, tool_choice: choice, parallel_tool_calls: false, seed }
      const [{ message, finish_reason }] = (await ask(body)).choices as [OpenAI.ChatCompletion.Choice]
      assert.is(finish_reason, 'tool_calls')
      assert.is(message.content, null)
      assert.is(message.tool_calls!.length, 1)
      const [{ function: call }] = message.tool_calls as [OpenAI.ChatCompletionMessageFunctionToolCall]
      if (call.name === 'find_fox') assertIsFox(call.arguments)
      else assert.equal([choice, call.name, JSON.parse(call.arguments)], ['required', 'rest', {}])
    }
  }
})

test('beside tools that may be called, an answer follows its format or is a call', async () => {
  for (let seed = 0; seed < 6; seed++) {
    const { choices } = await ask({ tools, response_format: schemaFormat, seed, parallel_tool_calls: false })
    const { content, tool_calls: calls } = choices[0]!.message
    if (calls === undefined) assertIsFox(content!)
    else assert.is(calls.length, 1)
  }
})

test('what cannot be followed is refused with the reason', async () => {
  const fails = async (body: object, message: string) => {
    try {
      await ask(body)
    } catch (error) {
      assert.is((error as { status: number }).status, 400)
      assert.match((error as Error).message, message)
      return
    }
    assert.unreachable(message)
  }
  const schema = (of: unknown) => ({ guided_json: of })
  await fails(schema({ type: 'objekt' }), `the schema's type is "objekt"`)
  await fails(
    schema({ properties: { a: { not: {} } } }),
    `the schema's properties.a has not, which is not supported`,
  )
  await fails(schema({ $ref: '#/$defs/x' }), 'which the schema does not have')
  await fails(schema({ $ref: 'http://x/y' }), 'only places in the schema')
  await fails(schema({ $ref: '#' }), 'no value that ends')
  await fails(schema('{'), 'guided_json is no JSON')
  await fails({ guided_regex: '(a' }, 'at character 2, a group has no ")"')
  await fails({ guided_regex: 'a(?=b)' }, 'looking ahead')
  await fails({ guided_regex: 'a', guided_choice: ['b'] }, 'guided_regex and guided_choice both say')
  await fails({ structured_outputs: {} }, 'has none of json')
  await fails({ structured_outputs: { grammar: 'root ::= "a"' } }, 'structured_outputs: ')
  await fails({ guided_grammar: 'root ::= "a"' }, 'guided_grammar is not supported')
  await fails({ guided_regex: 'a', ignore_eos: true }, 'leave ignore_eos out')
  await fails({ guided_regex: 'a', max_tokens: 5000 }, 'exceed the context')
})

test('afterwards nothing runs and every page is free', () => {
  const { running, waiting, heldPages } = engine.stats
  assert.equal({ running, waiting, heldPages }, { running: 0, waiting: 0, heldPages: 0 })
})

test.run()
