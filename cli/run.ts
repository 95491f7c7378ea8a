import { Command, CommanderError } from 'commander'
import { describeFailure } from './failure.ts'
import { packageVersion } from './package-info.ts'

/** Loads one command each, so that starting one does not wait for the others' modules. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  generate: async () => (await import('./generate.ts')).generateCommand(),
  quantize: async () => (await import('./quantize.ts')).quantizeCommand(),
  convert: async () => (await import('./convert.ts')).convertCommand(),
  inspect: async () => (await import('./inspect.ts')).inspectCommand(),
  eval: async () => (await import('./eval.ts')).evalCommand(),
  compile: async () => (await import('./compile.ts')).compileCommand(),
  check: async () => (await import('./check.ts')).checkCommand(),
  draw: async () => (await import('./draw.ts')).drawCommand(),
  tune: async () => (await import('./tune.ts')).tuneCommand(),
  serve: async () => (await import('./serve.ts')).serveCommand(),
  batch: async () => (await import('./batch.ts')).batchCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
}

/** Runs the command line and returns the exit code: 0, 2 for what the user can mend, 1 for a bug. */
export async function run(args: readonly string[]): Promise<number> {
  const program = new Command('quattuor')
    .description('Quantized GPU kernels in TypeScript, and the language models that run on them.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'quattuor: ')) })
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      `
Examples:
  $ quattuor generate examples/models/nano-w4a8kv4 --prompt "Once upon a time"
  $ quattuor compile examples/1-vector-add.ts
  $ quattuor serve examples/models/nano-w4a8kv4

Each command has options and examples of its own: quattuor COMMAND --help.`,
    )
  const named = args[0] !== undefined && Object.hasOwn(commands, args[0])
  const wanted = named ? [commands[args[0]!]!] : Object.values(commands)
  for (const load of wanted) program.addCommand((await load()).copyInheritedSettings(program))
  // Subcommands of subcommands must not end the process either.
  for (const command of program.commands)
    for (const inner of command.commands) inner.copyInheritedSettings(program)

  try {
    await program.parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    const { text, exitCode } = describeFailure(error)
    if (text) console.error(text)
    return exitCode
  }
}
