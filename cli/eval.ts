import { Command } from 'commander'
import { compareCommand } from './eval/compare.ts'
import { perplexityCommand } from './eval/perplexity.ts'

export const evalCommand = (): Command =>
  new Command('eval')
    .description('Measure how good a model is.')
    .addCommand(perplexityCommand())
    .addCommand(compareCommand())
