import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ConstraintSpec } from '../../../serve/constrain/constraint-spec.ts'
import { ConstraintError } from '../../../serve/constrain/error.ts'
import { GrammarThreads } from '../../../serve/constrain/grammar-threads.ts'
import { byteCharacters } from '../../../serve/text/byte-level.ts'
import { toolFormats } from '../../../serve/text/tools/tool-format.ts'
import { ToolParser } from '../../../serve/text/tools/tool-parser.ts'
import { nanoEnd, nanoFolder, nanoTokenizer } from '../../support/http-service.ts'
import { conforms } from '../../support/json-schema.ts'
import { rng } from '../../support/rng.ts'
import { takesText, walkConstraint } from '../../support/walk-constraint.ts'

const vocabulary = { folder: nanoFolder, vocabSize: nanoTokenizer.vocabSize, endIds: [nanoEnd], shownIds: [] }
const threads = new GrammarThreads(vocabulary, { threads: 1 })
test.after(() => threads.close())

const tokenOfByte = (byte: number) => nanoTokenizer.idOf(byteCharacters[byte]!)!

async function takes(spec: ConstraintSpec, text: string): Promise<boolean> {
  const constraint = await threads.open(spec)
  try {
    return await takesText(constraint, text, tokenOfByte, nanoEnd)
  } finally {
    constraint.close()
  }
}

async function walk(spec: ConstraintSpec, random: () => number) {
  const constraint = await threads.open(spec)
  try {
    return await walkConstraint(constraint, nanoTokenizer, nanoEnd, random)
  } finally {
    constraint.close()
  }
}

const small = fc.integer({ min: 0, max: 4 })
const name = fc.constantFrom('a', 'ab', 'b', 'long name', '"', 'é😀', 'a\nb', '')
const bound = fc.oneof(
  fc.integer({ min: -1200, max: 1200 }),
  fc.double({ min: -20, max: 20, noNaN: true }).map((x) => Number(x.toFixed(3))),
)

const leaf = fc.oneof(
  fc.record(
    { type: fc.constant('string'), minLength: small, maxLength: small.map((x) => x + 4) },
    { requiredKeys: ['type'] },
  ),
  fc.record({
    type: fc.constant('string'),
    pattern: fc.constantFrom('^[a-c]+$', 'x', '^\\d{2}-"?$', '^[^a-z]*$', '[à-ü]'),
  }),
  fc.record(
    { type: fc.constantFrom('integer', 'number'), minimum: bound, maximum: bound },
    { requiredKeys: ['type'] },
  ),
  fc.record(
    { type: fc.constantFrom('integer', 'number'), exclusiveMinimum: bound, exclusiveMaximum: bound },
    { requiredKeys: ['type'] },
  ),
  fc.constantFrom<object>({ type: 'boolean' }, { type: ['null', 'integer'] }, { type: 'string' }),
  fc.record({
    enum: fc.array(fc.oneof(name, fc.integer(), fc.constant(null), fc.constant({ a: [1] })), {
      minLength: 1,
      maxLength: 4,
    }),
  }),
  fc.record({ const: fc.jsonValue({ maxDepth: 1 }) }),
)

const { schema } = fc.letrec<{ schema: unknown }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc
      .record({
        properties: fc.dictionary(name, tie('schema'), { maxKeys: 4, noNullPrototype: true }),
        required: fc.subarray(['a', 'b', 'é😀']),
        additionalProperties: fc.oneof(fc.constant(false), leaf),
      })
      .map((x) => ({ type: 'object', ...x, required: x.required.filter((one) => one in x.properties) })),
    fc.record(
      {
        type: fc.constant('array'),
        items: tie('schema'),
        minItems: small,
        maxItems: small.map((x) => x + 1),
      },
      { requiredKeys: ['type', 'items'] },
    ),
    fc.record({
      type: fc.constant('array'),
      prefixItems: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }),
      items: fc.oneof(fc.constant(false), leaf),
    }),
    fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ allOf: fc.tuple(tie('schema')) }),
  ),
}))

test('whatever is drawn for a random schema is JSON that it allows', async () => {
  let complete = 0
  let refused = 0
  const run = fc.asyncProperty(schema, fc.nat(), async (x, walkSeed) => {
    try {
      const { text, complete: ended } = await walk({ kind: 'schema', schema: x }, rng(walkSeed).uniform)
      if (!ended) return
      complete++
      assert.ok(conforms(x, JSON.parse(text)), `${JSON.stringify(x)} got ${text}`)
    } catch (error) {
      if (!(error instanceof ConstraintError)) throw error
      // Bounds may leave nothing between them; nothing else is wrong with these schemas.
      assert.match(error.message, /no value that ends/)
      refused++
    }
  })
  await fc.assert(run, { numRuns: 60, seed: 71 })
  assert.ok(complete > 35 && refused < 15, `${complete} complete, ${refused} refused`)
})

const cases: readonly (readonly [schema: unknown, yes: readonly string[], no: readonly string[]])[] = [
  [{ type: 'integer' }, ['0', '-12', '123456789012345'], ['01', '1.0', '+1', '']],
  [{ type: 'number' }, ['0.5', '-1e-9', '12E+3'], ['.5', '1.', '0x1', 'NaN']],
  [{ type: 'integer', minimum: -7, maximum: 120 }, ['-7', '0', '99', '120'], ['-8', '121', '1200', '-0']],
  [
    { type: 'number', minimum: 0.25, exclusiveMaximum: 1.5 },
    ['0.25', '0.251', '1', '1.49'],
    ['0.2', '0.249', '1.5', '2', '-1'],
  ],
  [{ type: 'number', exclusiveMinimum: 0 }, ['0.001', '3', '12.5'], ['0', '0.0', '-1']],
  [
    { type: 'string', minLength: 2, maxLength: 3 },
    ['"ab"', '"é😀x"', '"a\\nb"'],
    ['"a"', '"abcd"', '"ab', '"a\nb"'],
  ],
  [{ type: 'string', format: 'date' }, ['"2024-02-28"'], ['"2024-13-01"', '"2024-02-31"', '"24-01-01"']],
  [{ type: 'string', format: 'uuid' }, ['"0189c0de-1234-4abc-8def-0123456789ab"'], ['"0189c0de"']],
  [{ type: 'string', pattern: '^a"b\\\\$' }, ['"a\\"b\\\\"'], ['"ab"', '"a"b\\"']],
  [{ enum: ['a', 1, null, { x: [] }] }, ['"a"', '1', 'null', '{"x":[]}'], ['"b"', '{"x": []}']],
  [{ type: ['string', 'null'] }, ['null', '"x"'], ['1']],
  [
    { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'integer' } }, required: ['b'] },
    ['{"b":1}', '{"a": 1, "b": 2}', '{\n  "a": 1,\n  "b": 2\n}'],
    ['{}', '{"a":1}', '{"b":1,"a":1}', '{"b":1,"c":1}', '{"b":1,}', '{,"b":1}'],
  ],
  [
    { type: 'object', properties: { ab: { type: 'integer' } }, additionalProperties: { type: 'boolean' } },
    ['{}', '{"a":true}', '{"ab":1,"abc":true,"":false}', '{"b":true}'],
    ['{"ab":true}', '{"x":1}', '{"a":true,"ab":true}'],
  ],
  [
    { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'null' }], items: false },
    ['[]', '[1]', '[ 1, null ]'],
    ['[null]', '[1,null,1]'],
  ],
  [
    { type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 3 },
    ['[1]', '[1, 2,3]'],
    ['[]', '[1,2,3,4]', '[1,]'],
  ],
  [
    {
      $defs: { tree: { type: 'object', properties: { next: { $ref: '#/$defs/tree' } } } },
      $ref: '#/$defs/tree',
    },
    ['{}', '{"next":{"next":{}}}'],
    ['{"next":1}'],
  ],
  [
    {
      allOf: [
        { properties: { a: { type: 'null' } }, required: ['a'] },
        { properties: { b: { type: 'null' } } },
      ],
    },
    ['{"a":null}', '{"a":null,"b":null}'],
    ['{"b":null}'],
  ],
  [{ oneOf: [{ type: 'integer' }, { type: 'boolean' }], description: 'x' }, ['1', 'true'], ['null']],
  [true, ['1', '[{"a":[]}]', '"x"'], ['x', '']],
]

test('of given schemas, texts are taken that they allow and no others', async () => {
  for (const [of, yes, no] of cases)
    for (const [expected, texts] of [
      [true, yes],
      [false, no],
    ] as const)
      for (const text of texts)
        assert.is(
          await takes({ kind: 'schema', schema: of }, text),
          expected,
          `${JSON.stringify(of)}: ${text}`,
        )
})

test('a regular expression is followed as ECMAScript reads it', async () => {
  const patterns = [
    '[a-f]{2,4}|\\d+',
    '(?:ab?c|x*)y',
    '\\w+\\s\\S',
    '[^a-z"]{1,3}',
    'é|[à-ü]{2}',
    '[一-龥😀-😎]+z',
    '\\u0041\\x42\\.',
    '(?<n>a)+?b',
    '.{2}',
  ]
  for (const pattern of patterns) {
    const exact = new RegExp(`^(?:${pattern})$`, 'u')
    const spec = { kind: 'regex', pattern } as const
    for (const text of fc.sample(fc.stringMatching(exact), { numRuns: 4, seed: 72 })) {
      if (text === '' || !/^[\0-\uffff]*$/.test(text)) continue
      assert.is(await takes(spec, text), true, `${pattern}: ${JSON.stringify(text)}`)
    }
    const { uniform } = rng(73)
    for (let i = 0; i < 4; i++) {
      const { text, complete } = await walk(spec, uniform)
      assert.ok(!complete || exact.test(text), `${pattern}: ${JSON.stringify(text)}`)
    }
  }
})

test('calls of tools are what the reader of each format takes them for', async () => {
  const parameters = { type: 'object', properties: { city: { enum: ['Turku', 'Oulu'] } }, required: ['city'] }
  const tools = [{ name: 'get_weather', parameters }, { name: 'rest' }]
  for (const format of Object.values(toolFormats))
    for (let seed = 0; seed < 6; seed++) {
      const spec = { kind: 'calls', format: format.name, tools, several: true } as const
      const { text, complete } = await walk(spec, rng(seed).uniform)
      const parser = new ToolParser(format, ['get_weather', 'rest'])
      const calls: { name: string; text: string }[] = []
      for (const event of [...parser.push(text), ...parser.end()]) {
        assert.is.not(event.type, 'text', text)
        if (event.type === 'call') calls.push({ name: event.name, text: '' })
        else if (event.type === 'arguments') calls.at(-1)!.text += event.text
      }
      assert.ok(calls.length > 0, text)
      for (const call of complete ? calls : calls.slice(0, -1)) {
        const { city, ...others } = JSON.parse(call.text)
        assert.equal(others, {})
        assert.is(['Turku', 'Oulu'].includes(city), call.name === 'get_weather', text)
      }
    }
})

test('without a token for the end a text goes on until nothing may follow', async () => {
  const endless = new GrammarThreads({ ...vocabulary, endIds: [], vocabSize: 4096 + 64 }, { threads: 1 })
  try {
    const constraint = await endless.open({ kind: 'choice', options: ['yes', 'yes, sir', 'no'] })
    assert.is(constraint.mask.length, (4096 + 64) / 32)
    const { text, complete } = await walkConstraint(constraint, nanoTokenizer, -1, rng(74).uniform)
    assert.ok(complete && ['yes, sir', 'no'].includes(text), text)
  } finally {
    await endless.close()
  }
})

const hostile: readonly (readonly [ConstraintSpec, RegExp])[] = [
  [
    { kind: 'schema', schema: JSON.parse(`${'{"items":'.repeat(3000)}{}${'}'.repeat(3000)}`) },
    /64 parts deep/,
  ],
  [
    { kind: 'schema', schema: { enum: Array.from({ length: 40_000 }, (_, i) => `value ${i}`) } },
    /characters/,
  ],
  [{ kind: 'schema', schema: { allOf: [{ $ref: '#' }] } }, /too deeply/],
  [{ kind: 'schema', schema: { type: 'array', minItems: 1e9 } }, /5000 is the most/],
  [{ kind: 'schema', schema: { type: 'string', pattern: '(' } }, /pattern is wrong/],
  [{ kind: 'regex', pattern: '('.repeat(5000) }, /50 deep/],
  [{ kind: 'regex', pattern: '(a{1,1000}){1,1000}' }, /come to too much/],
  [{ kind: 'regex', pattern: 'a{99999}' }, /more than 10000 times/],
  [{ kind: 'regex', pattern: '(?<=a)b\\1' }, /looking back/],
  [{ kind: 'choice', options: [''] }, /empty text/],
]

test('hostile constraints are refused, and others do not notice', async () => {
  const bystander = await threads.open({ kind: 'json' })
  for (const [spec, message] of hostile) {
    try {
      ;(await threads.open(spec)).close()
      assert.unreachable(message.source)
    } catch (error) {
      assert.match((error as Error).message, message)
    }
  }
  assert.is(await takesText(bystander, '{"a": [1, true]}', tokenOfByte, nanoEnd), true)
})

test('what takes too long is given up, and others of its thread go on where they were', async () => {
  const impatient = new GrammarThreads(vocabulary, { threads: 1, taskMilliseconds: 400 })
  try {
    const bystander = await impatient.open({
      kind: 'schema',
      schema: { type: 'array', items: { type: 'integer' } },
    })
    for (const byte of Buffer.from('[12,')) await bystander.accept(tokenOfByte(byte))
    const slow = impatient.open({ kind: 'regex', pattern: '(.{0,900}x){0,99}' })
    const pending = bystander.accept(tokenOfByte(0x33))
    await slow.then(
      () => assert.unreachable(),
      (error) => assert.match(error.message, 'takes too long'),
    )
    assert.is(await pending, 'open')
    assert.is(await bystander.accept(tokenOfByte(0x5d)), 'complete')
  } finally {
    await impatient.close()
  }
})

test.run()
