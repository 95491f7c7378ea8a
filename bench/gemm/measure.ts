import type { TileConstants } from '../../kernels/gemm-operands.ts'
import { bestTiles } from '../../models/best-tiles.ts'
import type { Device } from '../../runtime/device.ts'
import { deviceSlug } from '../../runtime/device-slug.ts'
import { ceilings, floorMicroseconds } from '../../runtime/tune/roofline.ts'
import { launchMicroseconds, type Patience } from '../measure.ts'
import { checkOutput, poison } from './check.ts'
import { groupOf, type Prepared, type Problem } from './problem.ts'
import type { Cell, GemmRow } from './rows.ts'
import type { BenchFormat } from './weights.ts'

/** A whole run must not take long: a few replays, most of them of a turn of the rotation. */
const patience: Patience = { replays: 7, leastMicroseconds: 1000, mostMicroseconds: 15_000 }

/** The tiles that a model would take for a product. */
export const tilesFor = (
  format: BenchFormat,
  { n: N, k: K, tokens: M }: Cell,
  device: Pick<Device, 'name' | 'properties' | 'target'>,
): TileConstants => bestTiles(format.weights, { M, N, K }, device)

/**
 * Times a problem for a number of tokens, with launches one after the other and with launches that overlap. Before each
 * timing the output is checked, and the GPU rests for `pauseMs`, so that its clock recovers from what ran before.
 */
export async function measureCell(
  problem: Problem,
  tokens: number,
  tiles: TileConstants,
  pauseMs: number,
): Promise<GemmRow> {
  const { device } = problem
  const time = async ({ turns }: Prepared): Promise<number> => {
    poison(problem)
    turns.at(-1)!.run()
    await checkOutput(problem, tokens)
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    return launchMicroseconds(device, turns, patience)
  }
  const plain = await problem.prepare(tokens, tiles, false)
  const { fn, program } = plain.launch
  const us = await time(plain)
  const usChained = program.overlaps ? await time(await problem.prepare(tokens, tiles, true)) : null
  // What overlapping launches have left behind is right, too.
  if (usChained !== null) await checkOutput(problem, tokens)
  const work = problem.work(tokens)
  const ceiling = ceilings[deviceSlug(device)]
  return {
    ...cellOf(problem, tokens),
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
export const cellOf = ({ format, shape }: Pick<Problem, 'format' | 'shape'>, tokens: number) => ({
  format: format.name,
  group: groupOf(format.weights),
  ...shape,
  tokens,
})
