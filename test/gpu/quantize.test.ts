import { operationCases } from '../quantize/compute/cases/operations.ts'
import { weightCases } from '../quantize/compute/cases/weights.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'

/** The quantizer's matrix operations on a GPU: the cases of the emulator's tests. */
await testOnGpu('DeviceCompute on CUDA', anyGpu, (_add, device, test) => {
  operationCases(test, device)
  weightCases(test, device)
})
