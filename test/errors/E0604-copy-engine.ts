import { arriveExpecting, barriers, copyBulk, type In, kernel, shared, type u32 } from '../../dsl/index.ts'

// target: sm_86

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { w: In<u32, 'Units 256'> }) {
    const tile = shared<u32>('u32', [256])
    const full = barriers(1)
    copyBulk(tile, [0], a.w, [0, 0], 1024, full, 0)
    arriveExpecting(full, 0, 1024)
  },
)

/*
E0604  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes needs compute capability 9.0, and sm_86 has 8.6  test/errors/E0604-copy-engine.ts:11:5
  10 │     const full = barriers(1)
  11 │     copyBulk(tile, [0], a.w, [0, 0], 1024, full, 0)
     │     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     └ help  compile for a newer target, or branch on target.capability
*/
