import { type Elem, kernel, type Out, threadIdx } from '../../dsl/index.ts'

export const bad = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function bad(a: { out: Out<Elem<'dtype'>, 'N'> }) {
    a.out.put(1, threadIdx.x)
  },
)

/*
E0411  Elem<'dtype'> takes its type from the constant dtype, which is not among the constants  test/errors/E0411-elem.ts:6:30
   5 │   { grid: () => [1], block: [32] },
   6 │   function bad(a: { out: Out<Elem<'dtype'>, 'N'> }) {
     │                              ^^^^^^^^^^^^^
     └ help  pass { dtype: 'f16' }, or another of f32, f16, bf16, i32, u32, i8, u8, e4m3, e5m2
*/
