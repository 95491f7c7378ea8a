import { UsageError } from '../cli/failure.ts'
import type { Device } from '../runtime/device.ts'
import { describeDevices, openDevice } from '../runtime/open-device.ts'

/** Opens the GPU that is named, or the first; `bench` says who wants it. Throws `UsageError` where there is none. */
export async function openGpu(bench: string, name: string | undefined): Promise<Device> {
  if (name?.startsWith('cuda:')) return openDevice(name)
  const { gpus, choice } = await describeDevices()
  const gpu = gpus.find((candidate) => candidate.target)
  if (name !== undefined || !gpu)
    throw new UsageError(
      `${bench} times kernels on a GPU, and ${name ?? 'there is none here'}` +
        `${name ? ' is none' : ` (${choice.reason})`}; run it where an NVIDIA driver and a GPU are, ` +
        'or use bench:emulator here',
    )
  return openDevice(gpu.name)
}
