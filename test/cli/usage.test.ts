import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageVersion } from '../../cli/package-info.ts'
import { runCli } from '../support/run-cli.ts'

const commands = [
  ['generate'],
  ['quantize'],
  ['convert'],
  ['inspect'],
  ['eval', 'perplexity'],
  ['eval', 'compare'],
  ['compile'],
  ['check'],
  ['draw'],
  ['tune', 'gemm'],
  ['tune', 'show'],
  ['serve'],
  ['batch'],
  ['bench', 'throughput'],
  ['bench', 'serve'],
  ['bench', 'startup'],
  ['doctor'],
] as const

for (const command of commands)
  test(`quattuor ${command.join(' ')} --help describes every option and shows an example that parses`, async () => {
    const { code, out, err } = await runCli(...command, '--help')
    assert.is(code, 0)
    assert.is(err, '')
    const examples = [...out.matchAll(/^ {2}\$ quattuor (.*)$/gm)].map((match) => match[1]!)
    assert.ok(examples.length > 0, out)
    for (const example of examples) {
      assert.ok(example.startsWith(command.join(' ')), example)
      for (const [option] of example.matchAll(/ --[a-z-]+/g)) assert.match(out, option)
    }
    for (const [line] of out.matchAll(/^ {2}-.*$/gm)) assert.match(line, /^ {2}\S+.* {2}\S/)
  })

test('the help lists every command', async () => {
  const { code, out } = await runCli('--help')
  assert.is(code, 0)
  for (const [command] of commands) assert.match(out, new RegExp(`^  ${command}\\b`, 'm'))
})

test('--version is that of the package', async () => {
  assert.equal(await runCli('--version'), { code: 0, out: `${packageVersion()}\n`, err: '' })
})

test('an unknown command or option is answered with what was probably meant', async () => {
  const command = await runCli('quantise')
  assert.equal([command.code, command.out], [2, ''])
  assert.match(command.err, "quattuor: unknown command 'quantise'")
  assert.match(command.err, 'Did you mean quantize?')
  const option = await runCli('generate', 'folder', '--max-token', '3')
  assert.equal([option.code, option.out], [2, ''])
  assert.match(option.err, "quattuor: unknown option '--max-token'")
  assert.match(option.err, 'Did you mean --max-tokens?')
  const inner = await runCli('eval', 'perplexty')
  assert.is(inner.code, 2)
  assert.match(inner.err, 'Did you mean perplexity?')
})

test('arguments that are missing, superfluous or no numbers are named', async () => {
  for (const [args, words] of [
    [['generate'], "missing required argument 'model'"],
    [['quantize', 'a'], "missing required argument 'dst'"],
    [['quantize', 'a', 'b', 'c'], 'too many arguments'],
    [['eval', 'perplexity', 'a'], "required option '--text <file>' not specified"],
    [['generate', 'a', '--max-tokens', '0'], 'must be a whole number of at least 1'],
    [['generate', 'a', '--max-tokens', '1.5'], 'must be a whole number of at least 1'],
    [['generate', 'a', '--temperature', 'hot'], 'must be a number from 0 to 100'],
    [['generate', 'a', '--top-p', '1.1'], 'must be a number from 0 to 1'],
    [['quantize', 'a', 'b', '--format', 'w3'], 'Allowed choices are'],
    [['compile', '--emit', 'sass'], 'Allowed choices are ptx, ir, stats'],
  ] as const) {
    const { code, out, err } = await runCli(...args)
    assert.is(code, 2, args.join(' '))
    assert.is(out, '')
    assert.match(err, /^quattuor: /)
    assert.match(err, words)
  }
})

test('without a command, the help goes to standard error and the exit code is that of a mistake', async () => {
  const { code, out, err } = await runCli()
  assert.equal([code, out], [2, ''])
  assert.match(err, 'Usage: quattuor')
})

test.run()
