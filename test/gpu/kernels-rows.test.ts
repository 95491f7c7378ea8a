import {
  addRmsNormQuantizeCase,
  embedTokensCase,
  rmsNormCase,
  rmsNormQuantizeCase,
  rmsNormRowsCase,
} from '../kernels/cases/rows.ts'
import { anyGpu, caseName, testOnGpu } from '../support/gpu-cases.ts'
import { eachRowShape } from '../support/row-shapes.ts'

/** Embedding and norms on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('norms of rows on CUDA', anyGpu, (add) => {
  for (const o of eachRowShape(16384)) {
    for (const make of [rmsNormCase, rmsNormQuantizeCase, addRmsNormQuantizeCase, embedTokensCase])
      add(caseName(make.name, o), () => make(o))
    add(caseName(rmsNormRowsCase.name, o), () => rmsNormRowsCase({ ...o, R: 5 }))
  }
})
