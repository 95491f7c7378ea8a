import { Command } from 'commander'
import { serveCommand } from '../bench/serve/command.ts'
import { startupCommand } from '../bench/startup/command.ts'
import { throughputCommand } from '../bench/throughput/command.ts'

/** Figures that a user may want of a machine of their own; those of single kernels are for who works on them. */
export const benchCommand = (): Command =>
  new Command('bench')
    .description('Measure the engine: throughput, latency under load, and how soon it starts.')
    .addCommand(
      throughputCommand().addHelpText(
        'after',
        `
Examples:
  $ quattuor bench throughput llama-3-8b
  $ quattuor bench throughput llama-3-8b --format bf16,w4a8kv4 --shape 1024/512,128/2048 --json figures.json
  $ quattuor bench throughput examples/models/nano-w4a8kv4 --shape 16/16 --requests 4`,
      ),
    )
    .addCommand(
      serveCommand().addHelpText(
        'after',
        `
Examples:
  $ quattuor bench serve llama-3-8b --rate 8,16,32 --html latency.html
  $ quattuor bench serve --url http://127.0.0.1:8000 --rate 8 --json latency.json`,
      ),
    )
    .addCommand(
      startupCommand().addHelpText(
        'after',
        `
Examples:
  $ quattuor bench startup llama-3-8b
  $ quattuor bench startup examples/models/nano-w4a8kv4 --starts 3`,
      ),
    )
