import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SlotRequest } from '../../../serve/sampler.ts'
import { createChatTemplate } from '../../../serve/text/chat-template.ts'
import { nanoEnd, nanoTokenizer, startService } from '../../support/http-service.ts'
import { ScriptedRunner } from '../../support/scripted-runner.ts'

/** What the made-up model says next. */
let says = ''
const seen: SlotRequest[] = []
const outputOf = (request: SlotRequest) => {
  seen.push(request)
  return [...nanoTokenizer.encode(says, { addSpecial: false }), nanoEnd]
}

/** Writes everything that a request can bring, and calls as Qwen does. */
const template = createChatTemplate(
  'test',
  `{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for m in messages %}{{ '\\n' + m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %} {{ c.function.name }}({{ c.function.arguments.city }}){% endfor %}{% endfor %}`,
  { bosToken: '', eosToken: '' },
)
const { client, close } = await startService({
  openRunner: () => new ScriptedRunner(nanoTokenizer.vocabSize, outputOf),
  chatTemplate: template,
})
test.after(close)

const weather = {
  type: 'function' as const,
  function: {
    name: 'get_weather',
    description: 'Tells the weather.',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
}
const messages = [{ role: 'user' as const, content: 'Weather in Turku?' }]
const callText =
  'Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Turku"}}\n</tool_call>'

test('calls of tools are told as such, at once', async () => {
  says = callText
  const answer = await client.chat.completions.create({ model: 'nano', messages, tools: [weather] })
  const { message, finish_reason } = answer.choices[0]!
  assert.is(finish_reason, 'tool_calls')
  assert.is(message.content, 'Let me see.')
  const [call] = message.tool_calls!
  assert.match(call!.id, /^[a-z\d]{9}$/)
  assert.equal(
    { ...call, id: '' },
    {
      id: '',
      type: 'function',
      function: { name: 'get_weather', arguments: '{"city": "Turku"}' },
    },
  )
})

test('calls of tools are told as such, in a stream', async () => {
  says = `${callText}\n<tool_call>{"name": "add", "arguments": {}}</tool_call>`
  const stream = client.chat.completions.stream({ model: 'nano', messages, tools: [weather] })
  const { choices } = await stream.finalChatCompletion()
  const { message, finish_reason } = choices[0]!
  assert.is(finish_reason, 'tool_calls')
  assert.is(message.content, 'Let me see.')
  assert.equal(
    message.tool_calls!.map((call) => 'function' in call && [call.function.name, call.function.arguments]),
    [
      ['get_weather', '{"city": "Turku"}'],
      ['add', '{}'],
    ],
  )
})

test('without tools, or where none may be called, the same text is text', async () => {
  says = callText
  for (const more of [{}, { tools: [weather], tool_choice: 'none' as const }]) {
    const answer = await client.chat.completions.create({ model: 'nano', messages, ...more })
    assert.is(answer.choices[0]!.message.content, callText)
    assert.is(answer.choices[0]!.finish_reason, 'stop')
  }
})

test('a conversation with calls and their results is written by the template', async () => {
  says = 'It rains.'
  await client.chat.completions.create({
    model: 'nano',
    messages: [
      { role: 'developer', content: 'Be kind.' },
      ...messages,
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'get_weather', arguments: '{"city": "Turku"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'rain' },
    ],
  })
  const text = nanoTokenizer.decode(Array.from(seen.at(-1)!.prompt))
  assert.is(text, '\nsystem: Be kind.\nuser: Weather in Turku?\nassistant:  get_weather(Turku)\ntool: rain')
})

test('log-probabilities are told for each token, with the likeliest', async () => {
  says = 'A fox.'
  const ids = nanoTokenizer.encode(says, { addSpecial: false })
  const ask = { model: 'nano', messages, logprobs: true, top_logprobs: 2 }
  const answer = await client.chat.completions.create(ask)
  const { content } = answer.choices[0]!.logprobs!
  assert.is(content!.map(({ token }) => token).join(''), says)
  assert.equal(
    content!.map(({ logprob }) => logprob),
    ids.map((_, i) => -0.5 - i),
  )
  assert.equal(content![1]!.top_logprobs[0]!.token, content![1]!.token)
  assert.is(content![1]!.top_logprobs.length, 2)
  assert.equal(Buffer.from(content![0]!.bytes!).toString(), content![0]!.token)

  const streamed: unknown[] = []
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true }))
    streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []))
  assert.equal(streamed, content)
})

test('completions tell log-probabilities in their own way', async () => {
  says = 'A fox.'
  const ids = nanoTokenizer.encode(says, { addSpecial: false })
  const answer = await client.completions.create({ model: 'nano', prompt: 'x', max_tokens: 50, logprobs: 3 })
  const { tokens, token_logprobs, top_logprobs, text_offset } = answer.choices[0]!.logprobs!
  assert.is(tokens!.join(''), says)
  assert.equal(
    token_logprobs,
    ids.map((_, i) => -0.5 - i),
  )
  assert.is(Object.keys(top_logprobs![0]!).length, 3)
  assert.equal(text_offset!.slice(0, 2), [0, tokens![0]!.length])
})

test('how tokens are chosen reaches the engine', async () => {
  says = 'x'
  await client.chat.completions.create({
    model: 'nano',
    messages,
    temperature: 0.25,
    top_p: 0.5,
    presence_penalty: 1,
    frequency_penalty: -1,
    logit_bias: { 7: -100 },
    seed: -1,
    top_k: -1,
    min_p: 0.125,
    repetition_penalty: 1.5,
    stop_token_ids: [9],
    min_tokens: 2,
    priority: -3,
  } as never)
  const { sampling, endIds } = seen.at(-1)!
  assert.equal(
    { ...sampling, logitBias: [...sampling.logitBias!] },
    {
      temperature: 0.25,
      topP: 0.5,
      topK: 0,
      minP: 0.125,
      presencePenalty: 1,
      frequencyPenalty: -1,
      repetitionPenalty: 1.5,
      logitBias: [[7, -100]],
      minTokens: 2,
      seed: 2 ** 53 - 1,
    },
  )
  assert.equal(endIds, [nanoEnd, 9])
})

test('what a conversation may not have is refused', async () => {
  const fails = async (body: object, message: string) => {
    try {
      await client.chat.completions.create({ model: 'nano', messages, ...body } as never)
    } catch (error) {
      assert.is((error as { status: number }).status, 400)
      assert.match((error as Error).message, message)
      return
    }
    assert.unreachable(message)
  }
  await fails({ messages: [] }, 'messages')
  await fails({ messages: [{ role: 'king', content: 'x' }] }, 'messages.0.role')
  const image = { type: 'image_url', image_url: { url: 'http://x' } }
  await fails({ messages: [{ role: 'user', content: [image] }] }, 'only parts of text are supported')
  await fails({ response_format: { type: 'xml' } }, 'text, json_object or json_schema')
  await fails({ tool_choice: 'required' }, 'there are no tools to call')
  const unknown = { type: 'function', function: { name: 'add' } }
  await fails({ tools: [weather], tool_choice: unknown }, 'there is no tool "add"')
  await fails({ tools: [{ ...weather, function: { name: 'no spaces' } }] }, 'tools.0.function.name')
})

test.run()
