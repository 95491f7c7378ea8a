import type { Device } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { KernelCase, TensorPlan } from './cases/kernel-case.ts'
import { randomTensor } from './random-tensors.ts'

/** The launches of a case, one for each copy of what rotates. */
export interface PreparedCase {
  readonly launches: readonly Launch[]
  free(): void
}

/** Allocates and fills a case's tensors, and binds its kernel to them. */
export async function prepareCase(device: Device, c: KernelCase): Promise<PreparedCase> {
  const tensors: Tensor[] = []
  const make = ({ dtype, shape, tag, data }: TensorPlan, copy: number): Tensor => {
    const tensor =
      typeof data === 'string'
        ? randomTensor(device, dtype, shape, data, tag)
        : Tensor.from(device, dtype, shape, data(copy))
    tensors.push(tensor)
    return tensor
  }
  const free = () => {
    for (const tensor of tensors) tensor.free()
  }
  try {
    const shared = Object.entries(c.args).map(([name, arg]) => [
      name,
      typeof arg === 'number' || arg.rotates ? arg : make(arg, 0),
    ])
    const launches: Launch[] = []
    for (let copy = 0; copy < c.copies; copy++) {
      const own = shared.map(([name, arg]) => [
        name,
        typeof arg === 'number' || arg instanceof Tensor ? arg : make(arg as TensorPlan, copy),
      ])
      launches.push(await prepare(device, c.kernel, c.config, Object.fromEntries(own)))
    }
    return { launches, free }
  } catch (error) {
    free()
    throw error
  }
}
