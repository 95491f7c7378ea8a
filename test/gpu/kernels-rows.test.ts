import {
  embedTokensCase,
  quantizeRowsCase,
  quantizeRowsFp8Case,
  quantizeRowsSummingCase,
  rmsNormCase,
  rmsNormQuantizeCase,
  rmsNormRowsCase,
  siluMulCase,
  siluMulQuantizeCase,
} from '../kernels/cases/rows.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'
import { halfTypes } from '../support/halfs.ts'

const makers = [
  ...[embedTokensCase, quantizeRowsCase, quantizeRowsSummingCase, rmsNormCase, rmsNormQuantizeCase],
  ...[siluMulCase, siluMulQuantizeCase],
]

/** Kernels on rows on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('kernels on rows on CUDA', anyGpu, (add, { target }) => {
  const hasFp8 = target.capability >= 89
  if (!hasFp8) console.log('skipped: rows of 8-bit floats, because the GPU has none')
  for (const dtype of halfTypes)
    for (const H of [8, 40, 256, 264, 640, 1408, 4096, 5120, 11008])
      for (const T of [1, 3, 17, 130]) {
        const o = { T, H, dtype, seed: T * H }
        for (const make of hasFp8 ? [...makers, quantizeRowsFp8Case] : makers)
          add(caseName(make.name, o), () => make(o))
        add(caseName(rmsNormRowsCase.name, o), () => rmsNormRowsCase({ ...o, R: 5 }))
      }
})
