import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { readJsonFile } from '../checkpoint/json-file.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { median } from '../runtime/tune/statistics.ts'
import { Detokenizer } from '../serve/text/detokenizer.ts'
import { createTokenizer } from '../serve/text/tokenizer.ts'
import { runBench } from './command.ts'
import { table } from './table.ts'

/** About a thousand tokens, as prompts have. */
const documentLength = 4000
const repetitions = 9

/** The documents of this repository. */
function ownText(): string {
  const folder = join(packageRoot(), 'docs')
  return readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n')
}

function documentsOf(text: string): string[] {
  return text.match(new RegExp(`[^]{1,${documentLength}}`, 'gu')) ?? []
}

/** Median seconds of several runs, each with what `prepare` makes for it. */
function secondsOf<T>(prepare: () => T, run: (value: T) => void): number {
  const times = Array.from({ length: repetitions }, () => {
    const value = prepare()
    const start = performance.now()
    run(value)
    return (performance.now() - start) / 1000
  })
  return median(times)
}

await runBench(
  new Command('bench:tokenizer')
    .description('Speed of a tokenizer, on one thread.')
    .argument('[model]', 'folder with a tokenizer.json', join(packageRoot(), 'examples/models/nano-w4a8kv4'))
    .option('--text <file>', 'text to encode (default: the documents of this repository)')
    .action((model: string, options: { text?: string }) => {
      const path = join(model, 'tokenizer.json')
      const json = readJsonFile(path)
      const text = options.text === undefined ? ownText() : readFileSync(options.text, 'utf8')
      const documents = documentsOf(text)
      const warm = createTokenizer(path, json)
      const ids = documents.map((document) => warm.encode(document))
      const tokens = ids.reduce((sum, { length }) => sum + length, 0)
      const measured = {
        'encode, pieces never seen': secondsOf(
          () => createTokenizer(path, json),
          (tokenizer) => {
            for (const document of documents) tokenizer.encode(document)
          },
        ),
        'encode, pieces seen before': secondsOf(
          () => warm,
          (tokenizer) => {
            for (const document of documents) tokenizer.encode(document)
          },
        ),
        'detokenize, token by token': secondsOf(
          () => ids.map(() => new Detokenizer(warm)),
          (streams) => {
            for (const [i, stream] of streams.entries()) for (const id of ids[i]!) stream.push(id)
          },
        ),
      }
      console.log(
        table(
          Object.entries(measured).map(([name, seconds]) => ({
            measured: name,
            'M tokens/s': tokens / seconds / 1e6,
            'MB/s': text.length / seconds / 1e6,
            tokens,
          })),
        ),
      )
    }),
)
