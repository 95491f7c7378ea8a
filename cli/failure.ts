import { Diagnostic } from '../codegen/diagnostics.ts'
import { colored } from './color.ts'

/** The user asked for something that cannot be done; the message says what to do instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The command has said itself what is wrong, but for a last line. */
export class Reported extends Error {
  override readonly name = 'Reported'
}

/** Errors whose message is one clear sentence for the user, by name: their classes live in modules loaded on demand. */
const expected = new Set([
  'ArgumentError',
  'BatchError',
  'CheckpointError',
  'DeviceError',
  'DriverError',
  'HubError',
  'LayoutError',
  'QuantizeError',
  'ProcessError',
  'RefusalError',
  'TensorError',
  'TextError',
  'TuneError',
  'UnknownDeviceError',
  'UsageError',
])

export interface Failure {
  readonly text: string
  /** 2: what was asked for cannot be done. 1: Quattuor failed. */
  readonly exitCode: 1 | 2
}

/** What to print for an error, and how to exit. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof Diagnostic) return { text: colored(error.render()), exitCode: 2 }
  if (error instanceof Reported) return { text: error.message, exitCode: 2 }
  if (error instanceof Error && expected.has(error.name) && !isEmulatorBug(error)) {
    return { text: `quattuor: ${error.message}`, exitCode: 2 }
  }
  if (isFileError(error)) return { text: `quattuor: ${fileSentence(error)}`, exitCode: 2 }
  const detail =
    error instanceof Error ? (process.env.QUATTUOR_DEBUG ? error.stack : error.message) : String(error)
  return {
    text: `quattuor: internal error: ${detail}\nThis is a bug: please report it with the output of QUATTUOR_DEBUG=1.`,
    exitCode: 1,
  }
}

const isEmulatorBug = (error: Error): boolean => (error as { code?: string }).code === 'EMULATOR_BUG'

const isFileError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string' && 'syscall' in error

function fileSentence(error: NodeJS.ErrnoException): string {
  const what = error.path ?? 'a file'
  switch (error.code) {
    case 'ENOENT':
      return `${what} does not exist`
    case 'EACCES':
    case 'EPERM':
      return `${what} may not be accessed; check its permissions`
    case 'ENOSPC':
      return `the disk is full; free some space and try again`
    case 'EEXIST':
    case 'ENOTDIR':
      return `${what} needs a folder where there is a file; name another`
    case 'EISDIR':
      return `${what} is a folder and a file is expected`
    default:
      return error.message
  }
}
