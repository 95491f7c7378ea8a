import { runBench } from './command.ts'
import { saveThroughput, throughputCommand } from './throughput/command.ts'

await runBench(throughputCommand(saveThroughput))
