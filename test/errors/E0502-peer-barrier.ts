import { barriers, type f32, type In, kernel, waitBarrier } from '../../dsl/index.ts'

// target: sm_90a
// cluster: 2

export const bad = kernel(
  import.meta.url,
  { grid: () => [2], block: [32], cluster: () => 2 },
  function bad(_a: { x: In<f32, 'N'> }) {
    const full = barriers(1)
    waitBarrier(full.peer(1), 0, 0)
  },
)

/*
E0502  only arrive takes the barriers of another CTA  test/errors/E0502-peer-barrier.ts:11:17
  10 │     const full = barriers(1)
  11 │     waitBarrier(full.peer(1), 0, 0)
     │                 ^^^^^^^^^^^^
*/
