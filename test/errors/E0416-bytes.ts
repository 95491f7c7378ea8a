import { barriers, copyBulk, type In, kernel, shared, type u32 } from '../../dsl/index.ts'

// target: sm_90a

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { w: In<u32, 'Units 256'> }) {
    const tile = shared<u32>('u32', [256])
    const full = barriers(1)
    copyBulk(tile, [0], a.w, [0, 0], 1000, full, 0)
  },
)

/*
E0416  a copy has a multiple of 16 bytes, not 1000  test/errors/E0416-bytes.ts:11:38
  10 │     const full = barriers(1)
  11 │     copyBulk(tile, [0], a.w, [0, 0], 1000, full, 0)
     │                                      ^^^^
     └ help  1008 bytes, and tile and tensor large enough for them
*/
