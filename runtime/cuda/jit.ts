import type { Program } from '../../codegen/program.ts'
import { ptxLocation } from '../../codegen/ptx/ts-location.ts'
import type { CompileThreads } from './compile-threads.ts'
import type { Context } from './context.ts'
import { cudaResult, DriverError } from './errors.ts'

/** What the driver's compiler made of a program. */
export interface Cubin {
  /** Empty where the driver keeps it in a cache of its own. */
  readonly image: Uint8Array
  /** What it noted: registers, spills, warnings. */
  readonly log: string
}

/** A program that the driver has compiled and loaded. */
export interface LoadedModule {
  /** The `CUmodule`. */
  readonly module: number
  readonly log: string
}

/**
 * Whether a program must be compiled as a whole: the linker makes code that others could call, in which `setmaxnreg` is
 * ignored and large products of warpgroups lack registers.
 */
export const isWholeProgram = ({ ptx }: Program): boolean => ptx.includes('setmaxnreg')

/**
 * Has the driver compile a program for the GPU of a context, on a thread of its own: several run at once, and the event
 * loop goes on. Throws `DriverError` with the compiler's log and the TypeScript line of the first error.
 */
export async function compileCubin(
  context: Context,
  threads: CompileThreads,
  program: Program,
): Promise<Cubin> {
  const { image, log } = await compile(context, threads, program, false)
  return { image: image!, log }
}

/** As `compileCubin`, for programs that must be compiled as a whole: loads them too. */
export async function compileModule(
  context: Context,
  threads: CompileThreads,
  program: Program,
): Promise<LoadedModule> {
  const { module, log } = await compile(context, threads, program, true)
  return { module: module!, log }
}

async function compile(context: Context, threads: CompileThreads, program: Program, load: boolean) {
  const { name, ptx } = program
  const compiled = await threads.compile({ name, ptx, context: context.handle, load })
  if (compiled.result !== cudaResult.success)
    throw jitError(context, program, compiled.result, compiled.errorLog)
  return compiled
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
