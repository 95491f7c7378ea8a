import type { OperandType } from '../../../dsl/format.ts'
import { type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import {
  partialBytes,
  type WgmmaTiles,
  wgmmaPlan,
  wgmmaSharedBytes,
} from '../../../kernels/gemm/wgmma-plan.ts'
import type { Rng } from '../../support/rng.ts'

/** Tiles with the plainest value of what is not given. */
export const wgmmaTiles = (
  tiles: Partial<WgmmaTiles> & Pick<WgmmaTiles, 'tokens' | 'stages'>,
): WgmmaTiles => ({
  path: 'wgmma',
  rowGroups: 1,
  blocks: 1,
  kGroups: 1,
  split: 1,
  multicast: 1,
  units: 1,
  steps: 4,
  staging: 2,
  producers: 1,
  ctas: 132,
  ctasPerMultiprocessor: 1,
  ...tiles,
})

const SHARED_BYTES = 227 * 1024
/** Registers of a lane, by warpgroups that multiply, and those that hold neither sums nor operands. */
const registers = [0, 232, 168, 120, 96] as const
const OTHER_REGISTERS = 48

/** Tiles that the kernel of a format beside 8-bit integers takes, at random. */
export function randomWgmmaTiles(random: Rng, format: WeightFormatName): WgmmaTiles {
  const x: OperandType = 'i8'
  const pick = <T>(...values: readonly T[]): T => values[random.integer(0, values.length - 1)]!
  for (;;) {
    const kGroups = pick(1, 1, 2, 3, 4)
    const rowGroups = pick(1, 2, 3, 4)
    const tokens = pick(8, 16, 24, 32, 48, 64, 80, 96, 128)
    const split = pick(1, 1, 2)
    const multicast = pick(1, 1, 2)
    const hasHalves = tokens % 64 === 0 && kGroups * split === 1
    const tiles = wgmmaTiles({
      tokens,
      kGroups,
      rowGroups,
      blocks: kGroups === 1 ? pick(1, 1, 2) : 1,
      split,
      multicast,
      ...(hasHalves && pick({}, { halves: true } as const)),
      units: pick(1, 2, 3, 4),
      stages: kGroups * random.integer(2, 5),
      steps: pick(2, 4),
      staging: pick(2, 3, 4),
      producers: pick(1, 2),
      ctas: pick(2, 4, 132),
    })
    const f = weightFormats[format]
    const plan = wgmmaPlan(tiles, f, x)
    const takesIt =
      plan.consumerGroups <= 4 &&
      tiles.blocks * (tiles.tokens / 2 + 8 * tiles.steps) + OTHER_REGISTERS <=
        registers[plan.consumerGroups]! &&
      tiles.split * tiles.multicast <= 2 &&
      !(tiles.split > 1 && tiles.blocks > 1) &&
      tiles.tokens % (8 * tiles.multicast) === 0 &&
      tiles.tokens % (8 * tiles.split) === 0 &&
      (plan.pairs === 1 || plan.unitGroups <= 2) &&
      (plan.consumers * 4) % plan.rows === 0 &&
      partialBytes(tiles, plan) <= tiles.stages * plan.slabs * tiles.tokens * 128 &&
      wgmmaSharedBytes(tiles, f, x) <= SHARED_BYTES
    if (takesIt) return tiles
  }
}
