import { asyncCases } from '../support/async-cases.ts'
import { testOnGpu } from '../support/gpu-cases.ts'

const copyEngine = {
  needs: 'no GPU of compute capability 9.0',
  serves: ({ capability }: { readonly capability: number }) => capability >= 90,
}

/** Copies by the copy engine, barriers and clusters on a GPU: the cases of the emulator's test. */
await testOnGpu('the copy engine and clusters on CUDA', copyEngine, (add) => {
  for (const each of asyncCases) add(each.name, () => each)
})
