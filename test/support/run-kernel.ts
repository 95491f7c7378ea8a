import type { DType } from '../../dsl/dtype.ts'
import type { Kernel } from '../../dsl/kernel.ts'
import type { Device } from '../../runtime/device.ts'
import { type Arguments, type Launch, prepare } from '../../runtime/kernel.ts'
import { type HostArray, Tensor } from '../../runtime/tensor.ts'

/** A tensor argument on the host. Without `data` the device memory is left as allocated. */
export interface HostTensor {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly data?: HostArray
  readonly tag?: string
}

const arrays = { f16: Uint16Array, bf16: Uint16Array, f32: Float32Array, i8: Int8Array } as const

/** Element types of outputs that `unwritten` makes. */
export type OutputType = keyof typeof arrays

/**
 * An output of bytes that are all ones, floats that are no numbers: what a kernel leaves unwritten differs from every
 * reference. For compute-sanitizer it is what initializes outputs, since initcheck does not see stores of the copy engine.
 */
export function unwritten(dtype: OutputType, shape: readonly number[]): HostTensor {
  const data = new arrays[dtype](shape.reduce((a, b) => a * b, 1))
  new Uint8Array(data.buffer).fill(0xff)
  return { dtype, shape, data }
}

export type HostArguments = Readonly<Record<string, HostTensor | number>>
export type Outputs = Readonly<Record<string, HostArray>>

/** One launch of a kernel with its inputs, and what must hold of its outputs. */
export interface KernelCase {
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: cases of different kernels share lists
  readonly kernel: Kernel<any, any>
  readonly config: object
  readonly args: HostArguments
  /** Throws where the outputs are not as they should be. */
  check(outputs: Outputs): void
}

/** Uploads the arguments and binds the kernel to them. */
export async function prepareKernel<A, C>(
  device: Device,
  kernel: Kernel<A, C>,
  config: C,
  args: HostArguments,
): Promise<{ launch: Launch<A>; tensors: Readonly<Record<string, Tensor>> }> {
  const tensors: Record<string, Tensor> = {}
  const values: Record<string, Tensor | number> = {}
  for (const [name, value] of Object.entries(args)) {
    if (typeof value === 'number') {
      values[name] = value
      continue
    }
    const { dtype, shape, data, tag } = value
    tensors[name] = data
      ? Tensor.from(device, dtype, shape, data, tag ?? 'row')
      : Tensor.allocate(device, dtype, shape, tag ?? 'row')
    values[name] = tensors[name]
  }
  return { launch: await prepare(device, kernel, config, values as Arguments<A>), tensors }
}

/** Runs a kernel once and reads back every tensor that it may write. */
export async function runKernel<A, C>(
  device: Device,
  kernel: Kernel<A, C>,
  config: C,
  args: HostArguments,
): Promise<Outputs> {
  const { launch, tensors } = await prepareKernel(device, kernel, config, args)
  launch.run()
  const outputs: Record<string, HostArray> = {}
  for (const param of launch.program.params) {
    if (param.kind === 'tensor' && param.access !== 'in')
      outputs[param.name] = await tensors[param.name]!.read()
  }
  for (const tensor of Object.values(tensors)) tensor.free()
  return outputs
}

/** Runs a case and checks its outputs. */
export async function runCase(device: Device, c: KernelCase): Promise<void> {
  c.check(await runKernel(device, c.kernel, c.config, c.args))
}

/** Fails at the first element that differs, saying where and in what. */
export function assertSame(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  columns: number,
  name = 'out',
): void {
  if (actual.length !== expected.length)
    throw new Error(`${name} has ${actual.length} elements, expected ${expected.length}`)
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) {
      const at = `[${Math.floor(i / columns)}, ${i % columns}]`
      throw new Error(`${name}${at} is ${actual[i]}, expected ${expected[i]}`)
    }
  }
}
