import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    switch (threadIdx.x) {
      case 0:
        a.out.put(1, 0)
      case 1:
        a.out.put(2, 1)
    }
  },
)

/*
E0305  this case falls through, and the switch is on a run-time value  test/errors/E0305-fall-through.ts:8:7
   7 │     switch (threadIdx.x) {
   8 │       case 0:
     │       ^^^^^^^
     └ help  end the case with break
*/
