import { Command } from 'commander'
import { serveCommand } from '../bench/serve/command.ts'
import { startupCommand } from '../bench/startup/command.ts'
import { throughputCommand } from '../bench/throughput/command.ts'

/** Figures that a user may want of a machine of their own; those of single kernels are for who works on them. */
export const benchCommand = (): Command =>
  new Command('bench')
    .description('Measure the engine: throughput, latency under load, and how soon it starts.')
    .addCommand(throughputCommand())
    .addCommand(serveCommand())
    .addCommand(startupCommand())
