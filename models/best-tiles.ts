import { type WeightFormat, type WeightFormatName, weightFormats } from '../kernels/formats/index.ts'
import { defaultTiles, type GemmShape } from '../kernels/gemm/mma-tiles.ts'
import { activationType, type TileConstants } from '../kernels/gemm/operands.ts'
import { gemmSpace } from '../kernels/gemm/space.ts'
import { defaultWgmmaTiles } from '../kernels/gemm/wgmma-tiles.ts'
import type { Device } from '../runtime/device.ts'
import { type Tuned, tunedFor } from '../runtime/tune/tuned.ts'

type TunedDevice = Pick<Device, 'name' | 'properties' | 'target'>

export interface BestTilesOptions {
  /** Instead of the records on disk. */
  readonly tuned?: Tuned
  /** Told, once a process, that a shape is untuned; default: standard error. */
  readonly say?: (sentence: string) => void
}

/**
 * The fastest tiles on record for a product of M tokens: those of its very shape, else of the nearest one that was
 * measured, else what is thought to be good without measuring. The result of the product does not depend on the choice.
 *
 * Says once a process when features and columns are not on record. The emulator, whose speed is another matter, takes
 * the default and says nothing.
 */
export function bestTiles(
  format: WeightFormatName,
  shape: GemmShape,
  device: TunedDevice,
  options: BestTilesOptions = {},
): TileConstants {
  if (device.name === 'emulator') return defaultTiles(format, shape, device.target)
  const { N, K, M } = shape
  const tuned = options.tuned ?? tunedFor(device, format)
  const space = gemmSpaceOf(format)
  const winner = tuned.winner(
    { N, K, M },
    (config) => space.refusal(config as unknown as TileConstants, device.target, { N, K, M }) === undefined,
  )
  if (!winner || winner.record.key.N !== N || winner.record.key.K !== K)
    sayUntuned(format, shape, device, winner?.record.key, options.say)
  return winner
    ? (winner.record.config as unknown as TileConstants)
    : untunedTiles(format, shape, device.target)
}

/**
 * The number of tokens whose tiles `tokens` tokens take: the next one that was tuned for the features and columns, or
 * the next power of two, so that a batch that grows by one is no other product.
 */
export function tokenBucket(
  format: WeightFormatName,
  { M, N, K }: GemmShape,
  device: TunedDevice,
  tuned: Tuned = tunedFor(device, format),
): number {
  const power = 2 ** Math.ceil(Math.log2(M))
  if (device.name === 'emulator') return power
  return tuned.tunedValues('M', { N, K }).find((count) => count >= M) ?? power
}

/** The tiles of a product on a GPU that are thought to be good without measuring: on `wgmma` where that is possible. */
export function untunedTiles(
  format: WeightFormatName,
  shape: GemmShape,
  target: Device['target'],
): TileConstants {
  const f: WeightFormat = weightFormats[format]
  const onHopper =
    target.name === 'sm_90a' ? defaultWgmmaTiles(f, shape, activationType(format, 'f16'), target) : undefined
  return onHopper ?? defaultTiles(format, shape, target)
}

const spaces = new Map<WeightFormatName, ReturnType<typeof gemmSpace>>()

function gemmSpaceOf(format: WeightFormatName): ReturnType<typeof gemmSpace> {
  const space = spaces.get(format) ?? gemmSpace(format)
  spaces.set(format, space)
  return space
}

let said = false

function sayUntuned(
  format: WeightFormatName,
  { N, K }: GemmShape,
  { properties }: TunedDevice,
  near: Readonly<Record<string, number>> | undefined,
  say: (sentence: string) => void = (sentence) => console.error(sentence),
): void {
  if (said) return
  said = true
  const instead = near ? `those of ${near.N}x${near.K} serve` : 'untuned ones serve'
  say(
    `quattuor: no tiles are on record for ${format} weights of ${N}x${K} on ${properties.description}, and ${instead}; ` +
      `run quattuor tune gemm --format ${format} --shape ${N}x${K}`,
  )
}
