import { barriers, type f32, type In, initBarrier, kernel } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(import.meta.url, { grid: () => [1], block: [32] }, function bad(_a: { x: In<f32, 'N'> }) {
  const full = barriers(3)
  for (let stage = 0; stage <= full.count; stage++) initBarrier(full, stage, 1)
})

/*
E0504  there is no barrier 3 among the 3 of full  test/errors/E0504-barrier.ts:7:71
   6 │   const full = barriers(3)
   7 │   for (let stage = 0; stage <= full.count; stage++) initBarrier(full, stage, 1)
     │                                                                       ^^^^^
     ├ with  stage = 3
     └ help  indices go from 0 to 2
*/
