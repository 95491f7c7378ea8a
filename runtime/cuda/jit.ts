import type { Program } from '../../codegen/program.ts'
import { ptxLocation } from '../../codegen/ptx/ts-location.ts'
import type { CompileThreads } from './compile-threads.ts'
import type { Context } from './context.ts'
import { cudaResult, DriverError } from './errors.ts'

/** What the driver's compiler made of a program. */
export interface Cubin {
  readonly image: Uint8Array
  /** What it noted: registers, spills, warnings. */
  readonly log: string
}

/**
 * Has the driver compile a program for the GPU of a context, on a thread of its own: several run at once, and the event
 * loop goes on. Throws `DriverError` with the compiler's log and the TypeScript line of the first error.
 */
export async function compileCubin(
  context: Context,
  threads: CompileThreads,
  program: Program,
): Promise<Cubin> {
  const { name, ptx } = program
  const { result, image, log, errorLog } = await threads.compile({ name, ptx, context: context.handle })
  if (result !== cudaResult.success || !image) throw jitError(context, program, result, errorLog)
  return { image, log }
}

/** The error of a program that the driver's compiler refused. A fault of an earlier kernel may surface here: throws. */
export function jitError(context: Context, program: Program, result: number, log: string): DriverError {
  const line = /line (\d+); error/.exec(log)?.[1]
  const location = line ? ptxLocation(program, Number(line)) : undefined
  const error = new DriverError(
    context.driver,
    result,
    `the driver cannot load kernel ${program.name}${location ? `, at ${location}` : ''}`,
    { kernel: program.name, ...(location ? { location } : {}), log },
  )
  if (error.fatal) context.fail(result, `loading kernel ${program.name}`)
  return error
}
