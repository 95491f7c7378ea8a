import {
  barrier,
  type Elem,
  type f16,
  type f32,
  type In,
  type InOut,
  type i32,
  kernel,
  type Out,
  threadIdx,
  type u32,
  warpIdx,
} from '../../dsl/index.ts'
import { initBlockRing, makeBlockRing, overlap } from './decode-copies.ts'
import { makeDecodeMemory } from './decode-memory.ts'
import { assist, compute } from './decode-roles.ts'
import { checkDecode, DECODE_THREADS, type DecodeConfig, decodeShape, WARPS } from './decode-shape.ts'

/**
 * Attention over paged keys and values for sequences with few query tokens: query heads and tokens that share a key/value
 * head are multiplied together, so that each code is read and unpacked once.
 *
 * CTAs take the items that `planAttention` has listed, each for every key/value head, in turns. A CTA goes through the units
 * of an item's splits in order and keeps their sums in registers: four warps compute, a fifth copies and sums probabilities up.
 * What sequences of several items have is added up by the last to claim some of it. A row's result depends on its own context alone (`arithmetic.ts`).
 *
 * `partials` and `arrivals` are described at `decodeConfig`.
 */
export const decodeAttention = kernel(
  import.meta.url,
  {
    grid: (_, c: DecodeConfig) => [c.ctas],
    block: [DECODE_THREADS],
    blocksPerMultiprocessor: (c) => c.ctasPerMultiprocessor,
  },
  function decodeAttention(
    a: {
      q: In<Elem<'dtype'>, 'T HqD'>
      kv: In<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      kvParams?: In<f16, 'Pages Hkv 2 64 2'>
      pages: In<i32, 'B MaxPages'>
      items: In<i32, 'Items 12'>
      itemCount: In<i32, '1'>
      /** Tokens that a query sees, itself included. */
      window: i32
      /**
       * Not 0 where it runs beside the launch before, and waits for it at its end: that one must have waited for whatever stores what
       * decode attention reads before it lets others begin, and must store nothing that it reads or stores.
       */
      beside: i32
      /** Factor of the scores, usually 1/√D. */
      scale: f32
      partials: InOut<u32, 'Slots PartialRows PartialColumns'>
      arrivals: InOut<i32, 'B Counters'>
      out: Out<Elem<'dtype'>, 'T HqD'>
    },
    c: DecodeConfig,
  ) {
    checkDecode(c)
    const d = decodeShape(c)
    const ring = makeBlockRing(c, d)
    const o = { a, c, d, m: makeDecodeMemory(c, d), ring }
    if (threadIdx.x === 0) initBlockRing(c, ring)
    barrier()
    if (!c.ahead) overlap(a)

    const items = a.itemCount.at(0)
    if (warpIdx < WARPS) compute(o, items)
    else assist(o, items)
  },
)
