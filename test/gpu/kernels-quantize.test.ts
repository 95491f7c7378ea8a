import { quantizeRowsCase, quantizeRowsFp8Case, quantizeRowsSummingCase } from '../kernels/cases/rows.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'
import { eachRowShape } from '../support/row-shapes.ts'

/** Quantization of rows on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('quantized rows on CUDA', anyGpu, (add, { target }) => {
  const hasFp8 = target.capability >= 89
  if (!hasFp8) console.log('skipped: rows of 8-bit floats, because the GPU has none')
  const makers = [quantizeRowsCase, quantizeRowsSummingCase, ...(hasFp8 ? [quantizeRowsFp8Case] : [])]
  for (const o of eachRowShape(16384)) {
    for (const make of makers) add(caseName(make.name, o), () => make(o))
  }
})
