import { assertSlices, slicedFormats } from '../kernels/cases/slices.ts'
import { hopperGpu, testOnGpu } from '../support/gpu-cases.ts'
import { rng } from '../support/rng.ts'

/** Floating-point sums in slices of K, whoever adds them, bit for bit, on a GPU. */
await testOnGpu('slices of K on CUDA', hopperGpu, (_add, device, test) => {
  const random = rng(12)
  for (const format of slicedFormats)
    for (const slices of [2, 4] as const)
      for (const units of [random.integer(1, 9), random.integer(10, 64)])
        test(`${format}: ${slices} slices of ${units} units`, () =>
          assertSlices(device, { format, slices, units, random, some: false }))
})
