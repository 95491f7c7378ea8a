import type { OperandType, WeightFormat } from '../../dsl/format.ts'
import type { GemmShape } from './mma-tiles.ts'
import type { WgmmaTiles } from './wgmma-plan.ts'
import { defaultWgmmaTiles } from './wgmma-tiles.ts'

/** A product with the weights of `experts` matrices; M counts the tokens of all of them. */
export interface GroupedShape extends GemmShape {
  readonly experts: number
}

/**
 * Tiles of a grouped product, or `undefined` where `wgmma` cannot: those of one product that has the rows of all experts
 * and the tokens of one. The result does not depend on the choice.
 *
 * @param target bounds the shared memory.
 */
export function defaultGroupedTiles(
  format: WeightFormat,
  { M, N, K, experts }: GroupedShape,
  target: { readonly sharedBytes: number },
): WgmmaTiles | undefined {
  const x: OperandType = 'i8'
  const used = Math.min(M, experts)
  const mean = M / used
  // Most experts have no more than so many where tokens choose at random; a second tile reads the weights once more.
  const most = Math.ceil(mean + Math.sqrt(mean))
  return defaultWgmmaTiles(format, { M: most, N: N * used, K }, x, target)
}
