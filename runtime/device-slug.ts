import type { Device } from './device.ts'

/** The name of a device's folder of measurements: `nvidia-h200`, `emulator-cpu`. */
export const deviceSlug = ({ name, properties }: Pick<Device, 'name' | 'properties'>): string =>
  name === 'emulator' ? 'emulator-cpu' : slugOf(properties.description)

/** A GPU's description as a folder is named: `NVIDIA H200` becomes `nvidia-h200`. */
export const slugOf = (description: string): string =>
  description
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
