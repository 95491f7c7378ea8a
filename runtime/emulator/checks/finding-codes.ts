import type { FindingKind } from './interface.ts'

/** What a `DeviceError` about a finding carries as its code. */
export const findingCodes: Readonly<Record<FindingKind, string>> = {
  'out-of-bounds': 'EMULATOR_OUT_OF_BOUNDS',
  'use-after-free': 'EMULATOR_USE_AFTER_FREE',
  misaligned: 'EMULATOR_MISALIGNED',
  uninitialised: 'EMULATOR_UNINITIALISED_READ',
  race: 'EMULATOR_RACE',
  'pending-copy': 'EMULATOR_PENDING_COPY',
}
