import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { numberBetween } from '../cli/options.ts'
import { markRareWords } from './accuracy/rare-words.ts'
import { runBench } from './command.ts'

await runBench(
  new Command('bench:mark-rare-words')
    .description('Prints a text with its rarest words replaced by <unk>, as WikiText-2 has it.')
    .argument('<file>', 'text in the layout of WikiText: words and signs between spaces')
    .option('--share <part>', 'how many of the words, about', numberBetween(0, 1), 0.063)
    .action((file: string, { share }: { readonly share: number }) => {
      process.stdout.write(markRareWords(readFileSync(file, 'utf8'), share))
    }),
)
