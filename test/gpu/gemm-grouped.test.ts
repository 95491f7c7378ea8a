import { groupedCase, groupedTiles, groupTilesCase, routings } from '../kernels/cases/gemm-grouped.ts'
import { caseName, hopperGpu, testOnGpu } from '../support/gpu-cases.ts'
import { rng } from '../support/rng.ts'

/** Grouped products on a GPU: the cases of the emulator's tests at more and larger shapes. */
await testOnGpu('grouped GEMMs on CUDA', hopperGpu, (add) => {
  const routes = Object.values(routings)
  let seed = 300
  let variant = 0
  for (const tiles of Object.values(groupedTiles))
    for (const format of ['w4a8', 'w4a8-g128', 'w8a8'] as const) {
      // The same for all routings, which one program serves.
      const dtype = variant % 5 === 0 ? 'bf16' : 'f16'
      const zero = variant % 4 < 2 ? 'epilogue' : 'register'
      const bias = variant++ % 2 === 0
      for (const [M, experts] of [
        [1, 8],
        [32, 8],
        [300, 5],
        [301, 9],
      ] as const) {
        const counts = routes[seed % routes.length]!(rng(seed), experts, M)
        const options = { format, counts, N: 328, K: 1408, seed: seed++, dtype, zero, bias, tiles } as const
        add(caseName('grouped', options), () => groupedCase(options))
      }
    }
  for (const experts of [1, 8, 33, 256])
    for (const [name, route] of Object.entries(routings))
      add(`tiles of ${experts} experts, ${name}`, () =>
        groupTilesCase(route(rng(experts), experts, 5000), 64),
      )
})
