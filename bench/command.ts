import type { Command } from 'commander'
import { describeFailure } from '../cli/failure.ts'

/** Runs a bench as a command line: what cannot be done is one sentence, and the exit code says so. */
export async function runBench(command: Command): Promise<void> {
  try {
    await command.showSuggestionAfterError().parseAsync()
  } catch (error) {
    const { text, exitCode } = describeFailure(error)
    console.error(text)
    process.exitCode = exitCode
  }
}
