import { runBench } from './command.ts'
import { resultsPath } from './results.ts'
import { serveCommand } from './serve/command.ts'

await runBench(serveCommand(resultsPath))
