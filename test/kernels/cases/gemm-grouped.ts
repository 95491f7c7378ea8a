import { groupTiles, groupTilesReference, mostGroupTiles } from '../../../kernels/group-tiles.ts'
import type { Rng } from '../../support/rng.ts'
import { assertSame, type KernelCase } from '../../support/run-kernel.ts'

type Routing = (random: Rng, experts: number, M: number) => number[]

const none = (experts: number): number[] => Array.from({ length: experts }, () => 0)

/** Tokens of each expert: M in all. */
export const routings: Readonly<Record<string, Routing>> = {
  'tokens spread at random': (random, experts, M) => {
    const counts = none(experts)
    for (let m = 0; m < M; m++) counts[random.integer(0, experts - 1)]! += 1
    return counts
  },
  'a favourite and empty experts': (random, experts, M) => {
    const counts = none(experts)
    for (let m = 0; m < M; m++) counts[random.uniform() < 0.6 ? 0 : random.integer(0, experts >> 1)]! += 1
    return counts.reverse()
  },
  'all tokens to one expert': (random, experts, M) => {
    const counts = none(experts)
    counts[random.integer(0, experts - 1)] = M
    return counts
  },
}

export function groupTilesCase(counts: readonly number[], tokens: number): KernelCase {
  const M = counts.reduce((sum, n) => sum + n, 0)
  const room = mostGroupTiles(M, counts.length, tokens)
  return {
    name: `groupTiles ${counts} by ${tokens}`,
    kernel: groupTiles,
    config: { Experts: counts.length, tokens },
    args: {
      counts: { dtype: 'i32', shape: [counts.length], data: Int32Array.from(counts) },
      tiles: { dtype: 'i32', shape: [room, 4], data: new Int32Array(4 * room).fill(-1) },
      tileCount: { dtype: 'i32', shape: [1] },
    },
    check({ tiles, tileCount }) {
      const expected = groupTilesReference(counts, tokens)
      assertSame(tileCount!, [expected.length / 4], 1, 'tileCount')
      // Nothing is written past the list.
      const padding = Array.from({ length: 4 * room - expected.length }, () => -1)
      assertSame(tiles!, [...expected, ...padding], 4, 'tiles')
    },
  }
}
