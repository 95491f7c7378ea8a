import type { WeightFormatName } from '../kernels/formats/index.ts'
import { hasScratch } from '../kernels/gemm/operands.ts'
import { largestScratch } from '../kernels/gemm/wgmma-plan.ts'
import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'
import { tunedFor } from '../runtime/tune/tuned.ts'
import { bestTiles } from './best-tiles.ts'

const scratches = new WeakMap<Device, Tensor>()

/**
 * Where products put sums aside, of tiles that CTAs share or of slices of K: one place for all products of a device, which
 * run one after the other. Allocated when first asked for, and freed with the device.
 */
export function productScratch(device: Device): Tensor {
  let scratch = scratches.get(device)
  if (!scratch) {
    scratch = Tensor.allocate(device, 'i32', largestScratch)
    scratch.fill(0)
    scratches.set(device, scratch)
  }
  return scratch
}

/** Whether the product of some number of tokens takes it. */
export function takesScratch(
  format: WeightFormatName,
  { N, K }: { readonly N: number; readonly K: number },
  device: Device,
): boolean {
  if (device.name === 'emulator') return false
  const counts = tunedFor(device, format).tunedValues('M', { N, K })
  return counts.some((M) => hasScratch(bestTiles(format, { M, N, K }, device)))
}
