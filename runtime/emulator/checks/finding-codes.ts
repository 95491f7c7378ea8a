import type { FindingKind } from './interface.ts'

/** What a `DeviceError` about a finding carries as its code. */
export const findingCodes: Readonly<Record<FindingKind, string>> = {
  'out-of-bounds': 'EMULATOR_OUT_OF_BOUNDS',
  'use-after-free': 'EMULATOR_USE_AFTER_FREE',
  misaligned: 'EMULATOR_MISALIGNED',
  uninitialised: 'EMULATOR_UNINITIALISED_READ',
  race: 'EMULATOR_RACE',
  'pending-copy': 'EMULATOR_PENDING_COPY',
  'early-dependent': 'EMULATOR_EARLY_DEPENDENT',
  'early-refill': 'EMULATOR_EARLY_REFILL',
  'unawaited-copy': 'EMULATOR_UNAWAITED_COPY',
  'barrier-init': 'EMULATOR_BARRIER_INIT',
  'barrier-arrivals': 'EMULATOR_BARRIER_ARRIVALS',
  'barrier-bytes': 'EMULATOR_BARRIER_BYTES',
  'barrier-parity': 'EMULATOR_BARRIER_PARITY',
  'peer-lifetime': 'EMULATOR_PEER_LIFETIME',
  'tensor-map': 'EMULATOR_INVALID_TENSOR_MAP',
  'overwritten-tile': 'EMULATOR_OVERWRITTEN_TILE',
  'proxy-fence': 'EMULATOR_PROXY_FENCE',
  'wgmma-in-flight': 'EMULATOR_WGMMA_IN_FLIGHT',
  'wgmma-fence': 'EMULATOR_WGMMA_FENCE',
  'wgmma-wait': 'EMULATOR_WGMMA_WAIT',
  'divergent-warpgroup': 'EMULATOR_DIVERGENT_WARPGROUP',
}
