import type { Target } from '../../codegen/target.ts'
import type { TileConstants } from '../../kernels/gemm/operands.ts'
import { bestTiles, untunedTiles } from '../../models/best-tiles.ts'
import type { Device } from '../../runtime/device.ts'
import { deviceSlug } from '../../runtime/device-slug.ts'
import { ceilings, floorMicroseconds } from '../../runtime/tune/roofline.ts'
import { launchMicroseconds, type Patience } from '../measure.ts'
import type { BenchFormat } from './formats.ts'
import { groupOf, type Prepared, type Problem } from './problem.ts'
import type { Cell, GemmRow } from './rows.ts'

/**
 * A few replays, most of them of a turn of the rotation, and short ones of large products: a GPU that has been busy for a
 * tenth of a second reaches its power limit and lowers the clock. Rivals rest as long and are busy as long.
 */
const patience: Patience = { replays: 5, leastMicroseconds: 1000, mostMicroseconds: 3600 }

/**
 * The tiles that a model would take for a product.
 *
 * @param like a target whose tiles are taken instead, as far as this device runs them.
 */
export const tilesFor = (
  format: BenchFormat,
  { n: N, k: K, tokens: M }: Cell,
  device: Pick<Device, 'name' | 'properties' | 'target'>,
  like?: Target,
): TileConstants =>
  like ? untunedTiles(format.weights, { M, N, K }, like) : bestTiles(format.weights, { M, N, K }, device)

/**
 * Times a product, with launches one after the other and with launches that overlap. Before each timing a result is
 * checked, and the GPU rests for `pauseMs`, so that its clock recovers from what ran before.
 */
export async function measureCell(
  problem: Problem,
  cell: Cell,
  tiles: TileConstants,
  pauseMs: number,
): Promise<GemmRow> {
  const { device } = problem
  const time = async (prepared: Prepared): Promise<number> => {
    await problem.check(cell, prepared)
    return launchMicroseconds(device, prepared.turns, { ...patience, pauseMs })
  }
  const plain = await problem.prepare(cell, tiles, false)
  const { fn, program } = plain.launch
  const us = await time(plain)
  const usChained = program.overlaps ? await time(await problem.prepare(cell, tiles, true)) : null
  const work = problem.work(cell)
  const ceiling = ceilings[deviceSlug(device)]
  return {
    ...cellOf(problem.format, cell),
    us,
    usChained,
    tops: work.ops / us / 1e6,
    tbPerS: work.bytes / us / 1e6,
    floorUs: ceiling ? floorMicroseconds(work, ceiling) : null,
    registers: fn.resources?.registers ?? null,
    config: { ...tiles },
  }
}

/** The row of a problem that could not be measured. */
export const failedCell = (
  cell: Pick<GemmRow, 'format' | 'group' | 'n' | 'k' | 'tokens'>,
  tiles: TileConstants,
  error: unknown,
): GemmRow => ({
  ...cell,
  us: null,
  usChained: null,
  tops: null,
  tbPerS: null,
  floorUs: null,
  registers: null,
  config: { ...tiles },
  error: (error as Error).message.split('\n')[0]!,
})

/** What tells a row of ours apart. */
export const cellOf = (format: BenchFormat, { n, k, tokens }: Cell) => ({
  format: format.name,
  group: groupOf(format),
  n,
  k,
  tokens,
})
