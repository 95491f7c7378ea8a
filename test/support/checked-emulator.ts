import { type EmulatorDevice, openEmulator } from '../../runtime/emulator/device.ts'

/** An emulator that reports whatever a GPU would forgive. */
export const checkedEmulator = (): EmulatorDevice => openEmulator({ checks: true })
