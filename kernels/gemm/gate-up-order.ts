import { type Layout, layout } from '../../dsl/layout/index.ts'

/**
 * (feature, 0 of gate or 1 of up) → row of W, for products with the activation 'silu-mul' of `I` features: eight rows of
 * gate, then the same eight of up.
 *
 * The fragments of `mma` and `wgmma` give a lane rows g and g + 8 of a warp's 16, so a lane has both rows of a feature.
 *
 * @param I a multiple of 8.
 */
export function gateUpOrder(I: number): Layout {
  checkGateUp(I)
  return layout([[8, I / 8], 2], [[1, 16], 8])
}

/**
 * Rows of gate and then of up, as a stacked projection has them, in the order of `gateUpOrder`: codes and parameters of
 * groups, [2·I, columns], or what a row has one of.
 */
export function interleaveGateUp<T extends Int8Array | Uint8Array | Uint16Array | Float32Array>(
  stacked: T,
  I: number,
): T {
  const order = gateUpOrder(I)
  const columns = stacked.length / (2 * I)
  const rows = stacked.slice() as T
  for (let half = 0; half < 2; half++) {
    for (let feature = 0; feature < I; feature++) {
      const from = (half * I + feature) * columns
      rows.set(stacked.subarray(from, from + columns), order(feature, half) * columns)
    }
  }
  return rows
}

/** Refuses features that gate and up cannot share by eights. */
export function checkGateUp(I: number): void {
  if (I % 8 !== 0)
    throw new RangeError(`gate and up take turns by 8 rows: I must be a multiple of 8, and is ${I}`)
}
