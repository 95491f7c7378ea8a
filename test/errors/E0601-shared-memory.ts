import { barrier, type f32, type In, kernel, type Out, shared, threadIdx } from '../../dsl/index.ts'

// config: {"H": 384}
// target: sm_86
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { readonly H: number }) {
    const x = shared<f32>('f32', [c.H, 128])
    const y = shared<f32>('f32', [64, 128])
    x.put(a.x.at(0), threadIdx.x, 0)
    y.put(a.x.at(1), threadIdx.x, 0)
    barrier()
    a.out.put(x.at(0, threadIdx.x) + y.at(0, threadIdx.x), threadIdx.x)
  },
)

/*
E0601  bad needs 229376 bytes of shared memory, and a CTA of sm_86 has 101376  test/errors/E0601-shared-memory.ts:10:15
   9 │     const x = shared<f32>('f32', [c.H, 128])
  10 │     const y = shared<f32>('f32', [64, 128])
     │               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  x takes 196608 bytes  test/errors/E0601-shared-memory.ts:9:15
     ├ note  y takes 32768 bytes  test/errors/E0601-shared-memory.ts:10:15
     └ help  use smaller tiles or fewer stages
*/
