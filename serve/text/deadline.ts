import { createContext, Script } from 'node:vm'

/** Work took longer than it may. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError'
}

const script = new Script('run()')
const context = createContext({ run: undefined })

/**
 * Runs a synchronous function and stops it, wherever it is, when it takes longer than `milliseconds`. Throws
 * `DeadlineError` then. V8 interrupts what `node:vm` has called, code from outside its context included; this costs a
 * thread's start, some 0.1 ms.
 */
export function runWithDeadline<T>(milliseconds: number, run: () => T): T {
  context.run = run
  try {
    return script.runInContext(context, { timeout: milliseconds })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT')
      throw new DeadlineError(`took longer than ${milliseconds} ms`)
    throw error
  } finally {
    context.run = undefined
  }
}
