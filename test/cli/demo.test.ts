import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runCli } from '../support/run-cli.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const model = join(root, 'examples/models/nano-w4a8kv4')

test('the demo of the package continues its story', async () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const [program, main, ...rest] = scripts.demo
    .match(/"[^"]*"|\S+/g)
    .map((word: string) => word.replaceAll('"', ''))
  assert.equal([program, main], ['node', 'dist/cli/main.js'])
  const args = rest.map((word: string) => (word === 'examples/models/nano-w4a8kv4' ? model : word))
  const { code, out, err } = await runCli(...args, '--device', 'emulator', '--max-tokens', '12')
  assert.is(code, 0, err)
  const prompt = args[args.indexOf('--prompt') + 1]
  assert.ok(out.startsWith(prompt))
  assert.match(out.slice(prompt.length), /^( \w+|[,.;]){6,}/, 'words go on where the prompt ends')
  const tour = readFileSync(join(root, 'docs/tour.md'), 'utf8')
    .split('$ npm run demo\n')[1]!
    .replaceAll('\n', ' ')
  assert.is(tour.slice(0, out.trim().length), out.trim(), 'the tour shows the same story')
})

test('a chat message goes through the template of the model', async () => {
  const { code, out } = await runCli(
    ...['generate', model, '--chat', 'Tell me a story about a fox.', '--temperature', '0'],
    ...['--max-tokens', '8', '--device', 'emulator', '--json'],
  )
  assert.is(code, 0)
  const { promptTokens, tokens, text } = JSON.parse(out)
  assert.ok(promptTokens > 12, 'the template adds its own tokens')
  assert.is(tokens, 8)
  assert.not.match(text, '<|')
})

test.run()
