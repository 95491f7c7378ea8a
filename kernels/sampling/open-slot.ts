import {
  atomicAdd,
  barrier,
  blockDim,
  type In,
  type InOut,
  type i32,
  kernel,
  range,
  threadIdx,
  u32,
} from '../../dsl/index.ts'
import { bitWordsOf } from './groups.ts'
import { historyWordsOf } from './history.ts'

export interface OpenSlotConfig {
  /** Vocabulary. */
  readonly V: number
}

/**
 * Forgets what a slot's last request said and notes what is known of a new one's tokens: `marks` are the halves of
 * `history.ts` of the tokens `ids`, each once. One CTA.
 */
export const openSlot = kernel(
  import.meta.url,
  { grid: () => [1], block: [1024] },
  function openSlot(
    a: {
      slot: i32
      ids: In<i32, 'N'>
      marks: In<u32, 'N'>
      touched: InOut<u32, 'Slots Words'>
      history: InOut<u32, 'Slots Halves'>
    },
    c: OpenSlotConfig,
  ) {
    for (const word of range(threadIdx.x, bitWordsOf(c.V), blockDim.x)) a.touched.put(0, a.slot, word)
    for (const word of range(threadIdx.x, historyWordsOf(c.V), blockDim.x)) a.history.put(0, a.slot, word)
    barrier()
    for (const i of range(threadIdx.x, a.ids.dim('N'), blockDim.x)) {
      const id = a.ids.at(i)
      // Each id comes once, so that additions set bits.
      atomicAdd(a.touched, [a.slot, id >> 5], u32(1) << u32(id & 31))
      atomicAdd(a.history, [a.slot, id >> 1], a.marks.at(i) << u32(16 * (id & 1)))
    }
  },
)
