import { Command } from 'commander'
import { tuneGemmCommand } from './tune/gemm.ts'
import { tuneShowCommand } from './tune/show.ts'

export const tuneCommand = (): Command =>
  new Command('tune')
    .description('Find the fastest configuration of a kernel for each shape, and keep it on record.')
    .addCommand(tuneGemmCommand())
    .addCommand(tuneShowCommand())
