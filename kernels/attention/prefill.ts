import {
  type Elem,
  type f16,
  type f32,
  type In,
  type InOut,
  type i32,
  kernel,
  type Out,
} from '../../dsl/index.ts'
import { type PrefillConfig, prefillThreads } from './prefill-shape.ts'
import { prefillWgmma } from './prefill-wgmma.ts'

/**
 * Causal attention of many query tokens over a paged cache, from the list of tiles that the step's plan has: sequences of
 * any number of query tokens behind any number of cached ones. A row's bits depend on its own query and context alone.
 */
export const prefillAttention = kernel(
  import.meta.url,
  {
    grid: (_, c: PrefillConfig) => [c.ctas],
    block: [prefillThreads],
    blocksPerMultiprocessor: () => 1,
  },
  function prefillAttention(
    a: {
      q: In<Elem<'dtype'>, 'T HqD'>
      kv: In<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      kvParams?: In<f16, 'Pages Hkv 2 64 2'>
      pages: In<i32, 'B MaxPages'>
      tiles: In<i32, 'Tiles 8'>
      tileCount: In<i32, '1'>
      taken: InOut<i32, '1'>
      /** What takes scores to units of log2: usually log2(e)/√D. */
      scale: f32
      /** Tokens that a query sees, itself included. */
      window: i32
      out: Out<Elem<'dtype'>, 'T HqD'>
    },
    c: PrefillConfig,
  ) {
    prefillWgmma(a, c)
  },
)
