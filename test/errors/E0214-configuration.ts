import { type f32, type In, kernel, type Out, threadIdx } from '../../dsl/index.ts'

// config: {"H": 64}
export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { H: number }) {
    c.H = 2
    a.out.put(c.H, threadIdx.x)
  },
)

/*
E0214  the configuration cannot be changed here  test/errors/E0214-configuration.ts:8:5
   7 │   function bad(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: { H: number }) {
   8 │     c.H = 2
     │     ^^^
     ├ with  c.H = 64
     └ help  the kernel's constants are fixed; copy what changes into a variable
*/
