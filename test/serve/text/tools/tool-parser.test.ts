import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ToolEvent } from '../../../../serve/text/tools/tool-events.ts'
import { type ToolFormatName, toolFormatOf, toolFormats } from '../../../../serve/text/tools/tool-format.ts'
import { ToolParser } from '../../../../serve/text/tools/tool-parser.ts'

const tools = ['get_weather', 'add']

function eventsOf(format: ToolFormatName, pieces: readonly string[]): ToolEvent[] {
  const parser = new ToolParser(toolFormats[format], tools)
  return [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()]
}

/** A whole message from its events. */
function collectMessage(events: Iterable<ToolEvent>) {
  let text = ''
  const calls: { name: string; arguments: string }[] = []
  for (const event of events) {
    if (event.type === 'text') text += event.text
    else if (event.type === 'call') calls[event.index] = { name: event.name, arguments: '' }
    else calls[event.index]!.arguments += event.text
  }
  return { text, calls }
}

const parse = (format: ToolFormatName, text: string) => collectMessage(eventsOf(format, [text]))

const weather = { name: 'get_weather', arguments: '{"city": "Turku"}' }
const add = { name: 'add', arguments: '{"a": [1, {"b": "}\\"]"}]}' }

const objectOf = ({ name, arguments: text }: typeof weather, key = 'arguments') =>
  `{"name": "${name}", "${key}": ${text}}`

test('Llama 3: an object alone, after its tag, with parameters, several', () => {
  assert.equal(parse('llama3', objectOf(weather, 'parameters')), { text: '', calls: [weather] })
  assert.equal(parse('llama3', ` \n${objectOf(add)}`), { text: '', calls: [add] })
  assert.equal(parse('llama3', `<|python_tag|>${objectOf(add)}`), { text: '', calls: [add] })
  assert.equal(parse('llama3', `Let me see.\n<|python_tag|>${objectOf(add)}`), {
    text: 'Let me see.',
    calls: [add],
  })
  const two = `${objectOf(weather, 'parameters')}; ${objectOf(add, 'parameters')}`
  assert.equal(parse('llama3', two), { text: '', calls: [weather, add] })
})

test('Llama 3: an object that names no tool of the request is text, unless the tag opens it', () => {
  const other = '{"name": "Ada", "parameters": {"born": 1815}}'
  assert.equal(parse('llama3', other), { text: other, calls: [] })
  assert.equal(parse('llama3', `<|python_tag|>${other}`).calls.length, 1)
  assert.equal(parse('llama3', `Say: ${objectOf(weather)}`), { text: `Say: ${objectOf(weather)}`, calls: [] })
})

test('Qwen: calls between tags, among text', () => {
  const tagged = (object: string) => `<tool_call>\n${object}\n</tool_call>`
  assert.equal(parse('qwen', `${tagged(objectOf(weather))}\n${tagged(objectOf(add))}`), {
    text: '',
    calls: [weather, add],
  })
  assert.equal(parse('qwen', `First.\n\n${tagged(objectOf(weather))} \nThen.`), {
    text: 'First.Then.',
    calls: [weather],
  })
})

test('Mistral: a list, and names with their arguments', () => {
  const list = `[TOOL_CALLS] [${objectOf(weather)}, ${objectOf(add)}]`
  assert.equal(parse('mistral', list), { text: '', calls: [weather, add] })
  for (const mark of ['', '[ARGS]', '[CALL_ID]a1B2c3D4e[ARGS]']) {
    const named = [weather, add].map((call) => `[TOOL_CALLS]${call.name}${mark}${call.arguments}`).join('')
    assert.equal(parse('mistral', named), { text: '', calls: [weather, add] }, mark)
  }
})

test('arguments may come before the name, in a string, as null or not at all', () => {
  const call = (object: string) => parse('qwen', `<tool_call>${object}</tool_call>`).calls
  assert.equal(call('{"arguments": {"a": 1}, "id": 7, "name": "add"}'), [
    { name: 'add', arguments: '{"a": 1}' },
  ])
  assert.equal(call('{"name": "add", "arguments": "{\\"a\\": 1}"}'), [{ name: 'add', arguments: '{"a": 1}' }])
  assert.equal(call('{"arguments": "{}", "name": "add"}'), [{ name: 'add', arguments: '{}' }])
  assert.equal(call('{"name": "add", "arguments": null}'), [{ name: 'add', arguments: '{}' }])
  assert.equal(call('{"name": "add"}'), [{ name: 'add', arguments: '{}' }])
})

test('what begins like a call and is none is text, to the last character', () => {
  const texts = {
    llama3: [
      '{',
      '{"a": 1}',
      '{"name": 3}',
      ' {"name": "get_wea',
      '<|python_tag|>print(1)',
      '{}',
      'a <|pyth',
    ],
    qwen: [
      '<tool_call>',
      '<tool_call>\n{"name": ""}\n</tool_call> ',
      '<tool_call>[1]</tool_call>',
      '<tool_call>{"arguments": 7, "name": "add"}',
      'a < b <tool_',
      '<tool_call>{"name" "add"}',
      '<tool_call>{"a": tru}, 1}',
    ],
    mistral: [
      '[TOOL_CALLS]',
      '[TOOL_CALLS] [',
      '[TOOL_CALLS][1]',
      '[TOOL_CALLS]add',
      '[TOOL_CALLS]{}{',
      '[TOOL_',
    ],
  }
  for (const [format, cases] of Object.entries(texts))
    for (const text of cases)
      assert.equal(parse(format as ToolFormatName, text), { text, calls: [] }, `${format}: ${text}`)
})

test('a call after one that is none is found', () => {
  const text = `<tool_call>no <tool_call>${objectOf(weather)}</tool_call>`
  assert.equal(parse('qwen', text), { text: '<tool_call>no', calls: [weather] })
})

test('a call that is cut off after its name stays a call', () => {
  assert.equal(parse('qwen', '<tool_call>{"name": "add", "arguments": {"a": [1,'), {
    text: '',
    calls: [{ name: 'add', arguments: '{"a": [1,' }],
  })
})

test('a name and arguments are given as soon as they are there', () => {
  const parser = new ToolParser(toolFormats.qwen, tools)
  assert.equal(parser.push('Hm. <tool_'), [{ type: 'text', text: 'Hm.' }])
  assert.equal(parser.push('call>{"name": "ad'), [])
  assert.equal(parser.push('d"'), [{ type: 'call', index: 0, name: 'add' }])
  assert.equal(parser.push(', "arguments": {"a"'), [{ type: 'arguments', index: 0, text: '{"a"' }])
  assert.equal(parser.push(': 1}'), [{ type: 'arguments', index: 0, text: ': 1}' }])
  assert.equal(parser.push('}</tool_call>'), [])
  assert.equal(parser.end(), [])
})

test('pieces of any length give what the whole gives, and no call loses or invents text', () => {
  const atom = fc.constantFrom(
    ...[
      'text',
      ' ',
      '\n',
      '{',
      '}',
      '[',
      ']',
      '"',
      ',',
      ';',
      '\\',
      '[TOOL_CALLS]',
      '[ARGS]',
      '<|python_tag|>',
    ],
    ...['<tool_call>', '</tool_call>', '<tool', '"name"', '"arguments"', ':', '"add"', 'add', 'null', '1'],
    ...[objectOf(weather), objectOf(add), '{"name": "add", "arguments": '],
  )
  const message = fc.array(atom, { maxLength: 14 }).map((atoms) => atoms.join(''))
  fc.assert(
    fc.property(
      message,
      fc.constantFrom<ToolFormatName>('llama3', 'qwen', 'mistral'),
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 30 }),
      (text, format, lengths) => {
        const pieces: string[] = []
        for (let at = 0, i = 0; at < text.length; at += lengths[i++ % lengths.length]!)
          pieces.push(text.slice(at, at + lengths[i % lengths.length]!))
        const whole = parse(format, text)
        assert.equal(collectMessage(eventsOf(format, pieces)), whole)
        if (whole.calls.length === 0) assert.is(whole.text, text)
      },
    ),
    { numRuns: 10_000, seed: 4 },
  )
})

test('text that almost calls over and over is read in time that grows with its length', () => {
  const start = performance.now()
  const text = '<tool_call>{"a": ['.repeat(4000)
  assert.is(parse('qwen', text).text, text)
  assert.ok(performance.now() - start < 20_000, 'reading is quadratic')
})

test('the format is the one that the chat template writes', () => {
  assert.is(toolFormatOf("{{ '<tool_call>\\n' }}"), toolFormats.qwen)
  assert.is(toolFormatOf("{{ '[TOOL_CALLS]' }}"), toolFormats.mistral)
  assert.is(toolFormatOf('{"name": function name, "parameters": dictionary}'), toolFormats.llama3)
  assert.is(toolFormatOf('{{ messages }}'), undefined)
})

test.run()
