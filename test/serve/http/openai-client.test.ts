import OpenAI from 'openai'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { fakeOutput } from '../../../serve/engine/fake-model.ts'
import { FakeRunner } from '../../../serve/engine/fake-runner.ts'
import { greedy } from '../../../serve/sampling.ts'
import { loadChatTemplate } from '../../../serve/text/chat-template.ts'
import { nanoEnd, nanoFolder, nanoTokenizer, startService } from '../../support/http-service.ts'

const { vocabSize } = nanoTokenizer
const { client, engine, close } = await startService({
  openRunner: ({ pages }) => new FakeRunner({ vocabSize, pages, pageTokens: 64 }),
})
test.after(close)

const prompt = 'Once upon a time'
const promptIds = nanoTokenizer.encode(prompt)

/** The text and tokens that the made-up model gives these ids. */
function expected(
  ids: readonly number[],
  maxTokens: number,
  seed: number,
  more: { minTokens?: number; ends?: number[] } = {},
) {
  const { minTokens = 0, ends = [nanoEnd] } = more
  const sampling = { ...greedy, seed, minTokens }
  const output = fakeOutput({ prompt: ids, maxTokens, stopIds: ends, sampling }, vocabSize)
  const stopped = ends.includes(output.at(-1)!)
  const text = nanoTokenizer.decode(stopped ? output.slice(0, -1) : output)
  return { text, tokens: output.length, reason: stopped ? 'stop' : 'length' }
}

test('models are listed and found by name', async () => {
  const { data } = await client.models.list()
  assert.equal(
    data.map(({ id, object }) => [id, object]),
    [['nano', 'model']],
  )
  assert.is((await client.models.retrieve('nano')).owned_by, 'quattuor')
})

test('a completion has the text, its end and exact counts', async () => {
  const answer = await client.completions.create({ model: 'nano', prompt, max_tokens: 20, seed: 3 })
  const { text, tokens, reason } = expected(promptIds, 20, 3)
  assert.is(answer.object, 'text_completion')
  assert.equal(answer.choices, [{ index: 0, text, logprobs: null, finish_reason: reason }] as never)
  assert.equal(answer.usage, {
    prompt_tokens: promptIds.length,
    completion_tokens: tokens,
    total_tokens: promptIds.length + tokens,
  })
})

test('a completion of token ids is that of their text; a list of prompts has an answer for each', async () => {
  const answer = await client.completions.create({
    model: 'nano',
    prompt: [promptIds, [1, 2, 3]] as never,
    max_tokens: 9,
    seed: 4,
  })
  assert.equal(
    answer.choices.map(({ index, text }) => [index, text]),
    [
      [0, expected(promptIds, 9, 4).text],
      [1, expected([1, 2, 3], 9, 4).text],
    ],
  )
  const texts = await client.completions.create({ model: 'nano', prompt: ['a', 'b'], max_tokens: 2, seed: 4 })
  assert.is(texts.choices.length, 2)
})

test('n choices have seeds of their own, the same when asked again', async () => {
  const ask = () => client.completions.create({ model: 'nano', prompt, n: 3, max_tokens: 12, seed: 9 })
  const [first, second] = await Promise.all([ask(), ask()])
  assert.equal(first.choices, second.choices)
  assert.equal(
    first.choices.map(({ text }) => text),
    [9, 10, 11].map((seed) => expected(promptIds, 12, seed).text),
  )
})

test('a streamed completion is the same text, with its usage at the end when asked for', async () => {
  for (const include_usage of [true, false]) {
    const stream = await client.completions.create({
      model: 'nano',
      prompt,
      n: 2,
      max_tokens: 30,
      seed: 5,
      stream: true,
      stream_options: { include_usage },
    })
    const texts = ['', '']
    const reasons: (string | null)[] = []
    let usage: OpenAI.CompletionUsage | null | undefined
    for await (const chunk of stream) {
      for (const { index, text, finish_reason } of chunk.choices) {
        texts[index] += text
        if (finish_reason) reasons[index] = finish_reason
      }
      usage = chunk.usage
    }
    const both = [5, 6].map((seed) => expected(promptIds, 30, seed))
    assert.equal(
      texts,
      both.map(({ text }) => text),
    )
    assert.equal(
      reasons,
      both.map(({ reason }) => reason),
    )
    assert.is(usage?.completion_tokens, include_usage ? both[0]!.tokens + both[1]!.tokens : undefined)
  }
})

test('a conversation is answered, at once and in a stream', async () => {
  const messages = [
    { role: 'system' as const, content: 'Be brief.' },
    {
      role: 'user' as const,
      content: [
        { type: 'text' as const, text: 'Tell me ' },
        { type: 'text' as const, text: 'a story.' },
      ],
    },
  ]
  const text = loadChatTemplate(nanoFolder)!.render([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Tell me a story.' },
  ])
  const ids = nanoTokenizer.encode(text, { addSpecial: false })
  const { text: answerText, reason } = expected(ids, 25, 6)
  const answer = await client.chat.completions.create({
    model: 'nano',
    messages,
    max_completion_tokens: 25,
    seed: 6,
  })
  assert.equal(answer.choices[0]!.message, { role: 'assistant', content: answerText, refusal: null } as never)
  assert.is(answer.choices[0]!.finish_reason, reason)
  assert.is(answer.usage!.prompt_tokens, ids.length)

  const stream = client.chat.completions.stream({ model: 'nano', messages, max_tokens: 25, seed: 6 })
  const final = await stream.finalChatCompletion()
  assert.is(final.choices[0]!.message.content, answerText)
  assert.is(final.choices[0]!.finish_reason, reason)
})

test('a stop string ends the text before it, also in a stream; min_tokens and ignore_eos hold it off', async () => {
  const { text } = expected(promptIds, 40, 7)
  const stop = text.slice(12, 15)
  const cut = text.slice(0, text.indexOf(stop))
  const body = { model: 'nano', prompt, max_tokens: 40, seed: 7, stop: [stop, 'never said'] }
  const answer = await client.completions.create(body)
  assert.equal([answer.choices[0]!.text, answer.choices[0]!.finish_reason], [cut, 'stop'])
  let streamed = ''
  for await (const chunk of await client.completions.create({ ...body, stream: true }))
    streamed += chunk.choices[0]!.text
  assert.is(streamed, cut)
  const long = await client.completions.create({
    ...body,
    stop: null,
    ignore_eos: true,
    min_tokens: 3,
  } as never)
  assert.is((long as OpenAI.Completion).usage!.completion_tokens, 40)
})

test('wrong requests get the errors that the client knows', async () => {
  const fails = async (body: object, kind: unknown, message: string) => {
    try {
      await client.completions.create({ model: 'nano', prompt, ...body } as never)
    } catch (error) {
      assert.instance(error, kind)
      assert.match((error as Error).message, message)
      return
    }
    assert.unreachable(message)
  }
  await fails({ model: 'gpt-5' }, OpenAI.NotFoundError, 'the model "gpt-5" is not served; "nano" is')
  await fails({ temperature: 3 }, OpenAI.BadRequestError, 'temperature')
  await fails({ n: 1000 }, OpenAI.BadRequestError, 'n: ')
  await fails({ prompt: [] }, OpenAI.BadRequestError, 'prompt')
  await fails({ prompt: [vocabSize] }, OpenAI.BadRequestError, `token id ${vocabSize} is not in the model`)
  await fails({ max_tokens: 2000 }, OpenAI.BadRequestError, 'exceed the context of 1024 tokens')
  await fails({ best_of: 3 }, OpenAI.BadRequestError, 'best_of')
  await fails({ echo: true }, OpenAI.BadRequestError, 'echo is not supported')
  await fails({ stop: ['a', ''] }, OpenAI.BadRequestError, 'stop')
  await fails({ logit_bias: { x: 1 } }, OpenAI.BadRequestError, 'logit_bias')
})

test('a stream that the client leaves frees what it had', async () => {
  const stream = await client.completions.create({
    model: 'nano',
    prompt,
    max_tokens: 1000,
    stream: true,
    ignore_eos: true,
  } as never)
  for await (const _ of stream as unknown as AsyncIterable<unknown>) break
  ;(stream as unknown as { controller: AbortController }).controller.abort()
  for (let i = 0; i < 200 && engine.stats.running > 0; i++)
    await new Promise((resolve) => setTimeout(resolve, 5))
  assert.is(engine.stats.running, 0)
  assert.is(engine.stats.heldPages, 0)
})

test.run()
