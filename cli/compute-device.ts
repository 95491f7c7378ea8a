import type { Compute } from '../quantize/compute/compute.ts'
import { HostCompute } from '../quantize/compute/host.ts'
import { describeDevices, openDevice } from '../runtime/open-device.ts'

export interface HeldCompute {
  readonly compute: Compute
  /** Gives compute and device back. */
  close(): Promise<void>
}

/**
 * Where the quantizer computes: `host`, or a device by name. Without a name, what `QUATTUOR_DEVICE` says, or the first GPU, or
 * the host, which is faster than the emulator at this.
 */
export async function openCompute(name?: string): Promise<HeldCompute> {
  const wanted = name ?? (process.env.QUATTUOR_DEVICE || (await describeDevices()).choice.name)
  const isHost = wanted === 'host' || (name === undefined && wanted === 'emulator')
  if (isHost) return { compute: new HostCompute(), async close() {} }
  const { DeviceCompute } = await import('../quantize/compute/device.ts')
  const device = await openDevice(wanted)
  const compute = new DeviceCompute(device)
  return {
    compute,
    async close() {
      await compute.free()
      await device.close()
    },
  }
}
