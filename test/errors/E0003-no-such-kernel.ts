import { kernel, threadIdx, type f32, type Out } from '../../dsl/index.ts'

export const good = kernel(import.meta.url, { grid: () => [1], block: [32] }, function bat(a: { out: Out<f32, 'N'> }) {
  a.out.put(1, threadIdx.x)
})

/*
E0003  this file declares no kernel 'bad'  test/errors/E0003-no-such-kernel.ts:1:1
   1 │ import { kernel, threadIdx, type f32, type Out } from '../../dsl/index.ts'
     │ ^
     └ help  did you mean 'bat'?
*/
