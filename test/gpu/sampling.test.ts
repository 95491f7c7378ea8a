import { logProbsCase } from '../kernels/cases/logits.ts'
import { samplingCases } from '../kernels/cases/sampling.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'

/** Logits and what is drawn from them on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('logits and sampling on CUDA', anyGpu, (add, device, test) => {
  for (const V of [1, 7, 4101, 8192, 32000, 128256]) {
    for (const B of [1, 5]) add(`logProbs B=${B} V=${V}`, () => logProbsCase({ B, V, seed: V + B }))
  }
  for (const { name, run } of samplingCases({ large: true })) test(name, () => run(device))
})
