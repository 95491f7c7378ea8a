import { blockDim, ceilDiv, f32, type In, type i32, load, range, threadIdx, unroll } from '../dsl/index.ts'
import { blockMax } from '../dsl/std/index.ts'

/** What kernels over rows of logits share: one CTA takes a row, in a fixed order that depends on its length alone. */

/** Neighbouring logits of one access. */
const widthOf = (V: number): number => (V % 4 === 0 ? 4 : 1)

/** Threads of a CTA for rows of `V` logits. */
export const logitThreads = (V: number): number => Math.min(1024, 32 * ceilDiv(V, 32 * widthOf(V)))

/** Device: calls `use` for each logit of the calling thread, ids rising. */
export function eachLogit(logits: In<number, string>, V: number, use: (logit: f32, id: i32) => void): void {
  const width = widthOf(V)
  for (const first of range(threadIdx.x * width, V, blockDim.x * width)) {
    const values = load(logits, [first], width)
    for (const i of unroll(width)) use(f32(values[i]!), first + i)
  }
}

/** Device: the largest logit, to every thread. */
export function largestLogit(logits: In<number, string>, V: number): f32 {
  let largest = f32(f32.lowest)
  eachLogit(logits, V, (logit) => {
    largest = Math.max(largest, logit)
  })
  return blockMax(largest)
}
