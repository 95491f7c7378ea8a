import { geluMulCase, geluMulQuantizeCase, siluMulCase, siluMulQuantizeCase } from '../kernels/cases/rows.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'
import { eachRowShape } from '../support/row-shapes.ts'

/** Activations of gates on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('gated rows on CUDA', anyGpu, (add) => {
  for (const o of eachRowShape(53248)) {
    for (const make of [siluMulCase, siluMulQuantizeCase]) add(caseName(make.name, o), () => make(o))
    if (o.H > 1408) continue
    for (const form of ['erf', 'tanh'] as const)
      for (const make of [geluMulCase, geluMulQuantizeCase])
        add(caseName(make.name, { ...o, form }), () => make({ ...o, form }))
  }
})
