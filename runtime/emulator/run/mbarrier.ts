/**
 * Reads and changes mbarriers from JavaScript. The 64 bits are those of `translate/emit/mbarrier.ts`: from bit 0 the
 * parity of the current phase (1 bit), pending arrivals (20), expected arrivals (20), bytes announced less bytes copied
 * (23, signed).
 */
const countMask = 0xfffff

export interface BarrierState {
  readonly parity: number
  readonly pending: number
  readonly expected: number
  /** Bytes announced and not yet copied; negative where copies came before their announcement. */
  readonly bytes: number
}

/** `at` is the index of the barrier's first word. */
export function readBarrier(words: Int32Array, at: number): BarrierState {
  const low = words[at]!
  const high = words[at + 1]!
  return {
    parity: low & 1,
    pending: (low >>> 1) & countMask,
    expected: (low >>> 21) | ((high & 0x1ff) << 11),
    bytes: high >> 9,
  }
}

export function writeBarrier(words: Int32Array, at: number, state: BarrierState): void {
  words[at] = state.parity | (state.pending << 1) | (state.expected << 21)
  words[at + 1] = (state.bytes << 9) | (state.expected >>> 11)
}

/** Takes arrivals and bytes off what is missing, or adds bytes; tells whether that completes the phase. */
export function advanceBarrier(words: Int32Array, at: number, arrivals: number, bytes: number): boolean {
  const { parity, pending, expected, bytes: before } = readBarrier(words, at)
  const isComplete = pending === arrivals && before === bytes
  writeBarrier(words, at, {
    parity: isComplete ? parity ^ 1 : parity,
    pending: isComplete ? expected : pending - arrivals,
    expected,
    bytes: before - bytes,
  })
  return isComplete
}
