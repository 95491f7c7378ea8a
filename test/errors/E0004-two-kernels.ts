import { kernel, threadIdx, type f32, type Out } from '../../dsl/index.ts'

export const one = kernel(import.meta.url, { grid: () => [1], block: [32] }, function bad(a: { out: Out<f32, 'N'> }) {
  a.out.put(1, threadIdx.x)
})

export const two = kernel(import.meta.url, { grid: () => [2], block: [32] }, function bad(a: { out: Out<f32, 'N'> }) {
  a.out.put(2, threadIdx.x)
})

/*
E0004  two kernels are named bad  test/errors/E0004-two-kernels.ts:7:78
   7 │ export const two = kernel(import.meta.url, { grid: () => [2], block: [32] }, function bad(a: { out: Out<f32, 'N'> }) {
     │                                                                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
     ├ note  the other one  test/errors/E0004-two-kernels.ts:3:78
     └ help  give each kernel of a file its own name
*/
