import { runBench } from './command.ts'
import { startupCommand } from './startup/command.ts'

await runBench(startupCommand(true))
