import { distributionCase, greedyCase, logProbsCase } from '../kernels/cases/logits.ts'
import { anyGpu, testOnGpu } from '../support/gpu-cases.ts'

const all = { temperature: 1, topK: 0, topP: 1, minP: 0 }

/** Logits and what is drawn from them on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('logits and sampling on CUDA', anyGpu, (add) => {
  for (const V of [1, 7, 4101, 8192, 32000, 128256]) {
    for (const B of [1, 5]) {
      add(`logProbs B=${B} V=${V}`, () => logProbsCase({ B, V, seed: V + B }))
      add(`sample greedy B=${B} V=${V}`, () => greedyCase({ B, V, seed: V + B }))
    }
  }

  for (const [name, settings] of [
    ['everything', all],
    ['hot', { ...all, temperature: 3 }],
    ['top-k', { ...all, topK: 5 }],
    ['top-p', { ...all, topP: 0.7 }],
    ['min-p', { ...all, minP: 0.2 }],
    ['all cuts', { temperature: 1.5, topK: 20, topP: 0.9, minP: 0.05 }],
  ] as const) {
    for (const [V, draws] of [
      [41, 4000],
      [300, 4000],
      [8192, 2000],
    ] as const) {
      add(`sample ${name} V=${V}`, () => distributionCase(name, settings, { V, draws, seed: V }))
    }
  }
})
