import { Command, CommanderError } from 'commander'
import { checkCommand } from './check.ts'
import { compileCommand } from './compile.ts'
import { doctorCommand } from './doctor.ts'
import { drawCommand } from './draw.ts'
import { evalCommand } from './eval.ts'
import { describeFailure } from './failure.ts'
import { generateCommand } from './generate.ts'
import { packageVersion } from './package-info.ts'
import { quantizeCommand } from './quantize.ts'

/** Runs the command line and returns the exit code: 0, 2 for what the user can mend, 1 for a bug. */
export async function run(args: readonly string[]): Promise<number> {
  const program = new Command('quattuor')
    .description('Quantized GPU kernels in TypeScript, and the language models that run on them.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'quattuor: ')) })
    .showSuggestionAfterError()
  const commands = [
    generateCommand,
    quantizeCommand,
    compileCommand,
    checkCommand,
    drawCommand,
    evalCommand,
    doctorCommand,
  ]
  for (const command of commands) program.addCommand(command().copyInheritedSettings(program))
  // Subcommands of subcommands must not end the process either.
  for (const command of program.commands)
    for (const inner of command.commands) inner.copyInheritedSettings(program)

  try {
    await program.parseAsync(args, { from: 'user' })
    return typeof process.exitCode === 'number' ? process.exitCode : 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const { text, exitCode } = describeFailure(error)
    console.error(text)
    return exitCode
  }
}
