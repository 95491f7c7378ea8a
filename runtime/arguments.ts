import type { Param, Program, ScalarParam, TensorParam } from '../codegen/program.ts'
import { suggest } from '../codegen/suggest.ts'
import { dtypeBytes } from '../dsl/dtype.ts'
import type { Device } from './device.ts'
import { describe, Tensor } from './tensor.ts'

/** A value that an argument of a launch may have. */
export type Argument = Tensor | number

/** An argument of a launch does not fit the kernel's parameter. */
export class ArgumentError extends Error {
  override readonly name = 'ArgumentError'
  readonly kernel: string
  /** The argument (or shape word) at fault. */
  readonly argument: string
  constructor(kernel: string, argument: string, problem: string) {
    super(`kernel ${kernel}, argument '${argument}': ${problem}`)
    this.kernel = kernel
    this.argument = argument
  }
}

/** The largest extent that an `i32` dimension holds. */
const maxExtent = 2 ** 31 - 1

/** Refuses names that the program does not have; with `all`, also missing ones. */
export function checkNames(program: Program, args: Readonly<Record<string, unknown>>, all: boolean): void {
  const known = program.params
    .filter((param) => param.kind === 'tensor' || param.kind === 'scalar')
    .map((param) => param.name)
  const refuse = (name: string, problem: string): never => {
    throw new ArgumentError(program.name, name, problem)
  }
  for (const name of Object.keys(args)) {
    if (known.includes(name) || args[name] === undefined) continue
    const near = suggest(name, known)
    refuse(
      name,
      near
        ? `there is no such argument; did you mean '${near}'?`
        : `there is no such argument in this configuration; the kernel takes ${known.join(', ')}`,
    )
  }
  if (!all) return
  for (const name of known) if (args[name] === undefined) refuse(name, 'expected a value, got none')
}

/** Checks one argument by itself: everything but the equality of shape words. */
export function checkArgument(program: Program, param: Param, value: unknown, device: Device): void {
  if (param.kind === 'tensor') checkTensor(program.name, param, value, device)
  else if (param.kind === 'scalar') checkScalar(program.name, param, value)
}

function checkTensor(kernel: string, param: TensorParam, value: unknown, device: Device): void {
  const refuse = (problem: string): never => {
    throw new ArgumentError(kernel, param.name, problem)
  }
  if (!(value instanceof Tensor))
    throw new ArgumentError(kernel, param.name, `expected a tensor of ${param.dtype}, got ${kindOf(value)}`)
  if (value.freed) refuse(`expected a live tensor, got ${describe(value.dtype, value.shape)} that was freed`)
  if (value.device !== device)
    refuse(`expected a tensor on ${device.name}, got one on ${otherDevice(value.device, device)}`)
  if (value.dtype !== param.dtype) refuse(`expected elements of ${param.dtype}, got ${value.dtype}`)
  if (value.tag !== param.tag)
    refuse(`expected layout '${param.tag}', got layout '${value.tag}': pack the tensor for this kernel`)
  if (value.shape.length !== param.shape.length)
    refuse(
      `expected ${param.shape.length} dimensions '${param.words.join(' ')}', got shape [${value.shape.join(', ')}]`,
    )
  param.shape.forEach((extent, i) => {
    const got = value.shape[i]!
    const word = param.words[i]!
    if (typeof extent === 'number' && extent !== got)
      refuse(
        `expected ${word === String(extent) ? `dimension ${i} to be ${extent}` : `${word} = ${extent}`}, ` +
          `got ${got} in shape [${value.shape.join(', ')}]`,
      )
    if (got > maxExtent) refuse(`expected extents below 2^31, got shape [${value.shape.join(', ')}]`)
  })
  if (value.address % param.align !== 0)
    refuse(
      `expected an address that is a multiple of ${param.align} bytes, got one ${value.address % param.align} bytes ` +
        `past it: start the view at a multiple of ${param.align / dtypeBytes[param.dtype]} elements`,
    )
}

function checkScalar(kernel: string, param: ScalarParam, value: unknown): void {
  if (typeof value !== 'number')
    throw new ArgumentError(kernel, param.name, `expected a number (${param.dtype}), got ${kindOf(value)}`)
  if (param.dtype === 'f32') return
  const [low, high] = param.dtype === 'i32' ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1]
  if (!Number.isInteger(value) || value < low || value > high)
    throw new ArgumentError(kernel, param.name, `expected an ${param.dtype}, got ${value}`)
}

const kindOf = (value: unknown): string =>
  value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}`

const otherDevice = (device: Device, wanted: Device): string =>
  device.name === wanted.name ? `another instance of ${device.name}` : device.name

/** The extents of the shape words of a launch, static ones included, by word. */
export type BoundDims = Record<string, number>

/**
 * Binds shape words to extents: equal words must be equal everywhere. `sizes` shrinks words below what the tensors hold
 * (see `Launch.resize`).
 */
export function bindDims(
  program: Program,
  args: ReadonlyMap<string, Argument>,
  sizes: Readonly<Record<string, number>> = {},
): BoundDims {
  const dims: BoundDims = {}
  const binder: Record<string, string> = {}
  for (const param of program.params) {
    if (param.kind !== 'tensor') continue
    const { shape } = args.get(param.name) as Tensor
    for (let i = 0; i < shape.length; i++) {
      const word = param.words[i]!
      const got = shape[i]!
      if (/^\d+$/.test(word)) continue
      if (dims[word] === undefined) {
        dims[word] = got
        binder[word] = param.name
      } else if (dims[word] !== got) {
        const other = args.get(binder[word]!) as Tensor
        throw new ArgumentError(
          program.name,
          param.name,
          `expected ${word} = ${dims[word]} as in '${binder[word]}' [${other.shape.join(', ')}], ` +
            `got ${word} = ${got} in shape [${shape.join(', ')}]`,
        )
      }
    }
  }
  for (const [word, size] of Object.entries(sizes)) dims[word] = checkSize(program, word, size, dims[word])
  return dims
}

/** A launch may run on the leading rows of its tensors only where row-major order makes them a prefix. */
function checkSize(program: Program, word: string, size: number, held: number | undefined): number {
  const refuse = (problem: string): never => {
    throw new ArgumentError(program.name, word, problem)
  }
  if (held === undefined || !program.params.some((param) => param.kind === 'dim' && param.name === word))
    return refuse(`there is no such run-time shape word; it is static in this configuration or unknown`)
  for (const param of program.params) {
    if (param.kind !== 'tensor') continue
    const at = param.shape.indexOf(word)
    if (at > 0 || (at === 0 && param.tag !== 'row') || param.shape.indexOf(word, 1) > 0)
      refuse(
        `only the leading dimension of row-major tensors can be resized, and '${param.name}' has it elsewhere`,
      )
  }
  if (!Number.isInteger(size) || size < 1 || size > held)
    refuse(`expected a size from 1 to ${held}, the extent of the tensors, got ${size}`)
  return size
}
