import { rowCodeReference } from '../quantize-rows.ts'
import { siluTimesReference } from '../silu-mul.ts'
import { gateUpOrder } from './gate-up-order.ts'

/** silu(gate) · up in f32 of values [M, 2·I] whose columns lie as `gateUpOrder` says, bit for bit: [M, I]. */
export function siluMulColumns(values: Float32Array, I: number): Float32Array {
  const order = gateUpOrder(I)
  const out = new Float32Array(values.length / 2)
  for (let m = 0; m < out.length / I; m++) {
    for (let i = 0; i < I; i++) {
      const [gate, up] = [0, 1].map((half) => values[m * 2 * I + order(i, half)]!)
      out[m * I + i] = siluTimesReference(gate!, up!)
    }
  }
  return out
}

/** The codes of f32 values [M, columns] at the scales of their rows, bit for bit. */
export const codesOf = (values: Float32Array, columns: number, outScale: Float32Array): Int8Array =>
  Int8Array.from(values, (value, i) => rowCodeReference(value, outScale[Math.floor(i / columns)]!))
