import { DeviceError } from '../../device.ts'
import type { Instruction, Kernel } from '../ptx/module.ts'

/** Something that a kernel must not do, found by the translated code or by the schedule. */
export class KernelFault extends Error {
  readonly code: string
  readonly instruction: number | undefined
  constructor(code: string, message: string, instruction?: number) {
    super(message)
    this.code = code
    this.instruction = instruction
  }
}

/** Stands in a fault's message for the line of an instruction: `describeFailure` knows the kernel. */
export function lineOf(instruction: number): string {
  return `{instruction ${instruction}}`
}

/** The error that the device reports for what a kernel threw. */
export function describeFailure(kernel: Kernel, failure: unknown): DeviceError {
  if (failure instanceof DeviceError) return failure
  if (failure instanceof KernelFault) {
    const instruction: Instruction | undefined =
      failure.instruction === undefined ? undefined : kernel.instructions[failure.instruction]
    const location = instruction?.location && `${instruction.location.file}:${instruction.location.line}`
    const where = instruction
      ? `${location ? `${location}, ` : ''}PTX line ${instruction.line}, '${instruction.text}': `
      : ''
    return new DeviceError(
      failure.code,
      `kernel ${kernel.name}: ${where}${withLines(kernel, failure.message)}.`,
      {
        kernel: kernel.name,
        location,
      },
    )
  }
  if (failure instanceof Error && failure.name === 'RuntimeError') {
    const outside = /out of bounds|unaligned/.test(failure.message)
    return new DeviceError(
      outside ? 'EMULATOR_OUT_OF_BOUNDS' : 'EMULATOR_TRAP',
      `kernel ${kernel.name}: ${failure.message}. Run it on the device 'emulator:checked' to see the line.`,
      { kernel: kernel.name },
    )
  }
  const { message } = failure as Error
  const error = new DeviceError('EMULATOR_BUG', `kernel ${kernel.name}: the emulator failed: ${message}`, {
    kernel: kernel.name,
  })
  return Object.assign(error, { cause: failure })
}

function withLines(kernel: Kernel, message: string): string {
  return message.replace(/\{instruction (\d+)\}/g, (_, index) => {
    const { location, line } = kernel.instructions[Number(index)]!
    return location ? `${location.file}:${location.line}` : `PTX line ${line}`
  })
}
