import { type f32, type i32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

function gcd(x: i32, y: i32): i32 {
  return y === 0 ? x : gcd(y, x % y)
}

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    a.out.put(1, gcd(threadIdx.x, 12))
  },
)

/*
E0308  gcd calls itself without end  test/errors/E0308-recursion.ts:4:24
   3 │ function gcd(x: i32, y: i32): i32 {
   4 │   return y === 0 ? x : gcd(y, x % y)
     │                        ^^^^^^^^^^^^^
     ├ in    gcd, called at test/errors/E0308-recursion.ts:4:24
     ├ in    gcd, called at test/errors/E0308-recursion.ts:4:24
     ├ in    gcd, called at test/errors/E0308-recursion.ts:4:24
     ├ in    gcd, called at test/errors/E0308-recursion.ts:4:24
     ├ in    … 115 more calls
     ├ in    gcd, called at test/errors/E0308-recursion.ts:11:18
     └ help  a recursive call must reach its end on static values; a run-time condition cannot stop it
*/
