import { InvalidArgumentError } from 'commander'
import { type Target, type TargetName, targets } from '../../codegen/target.ts'
import type { TileConstants } from '../../kernels/gemm/operands.ts'
import { type BenchFormat, benchFormats } from './formats.ts'
import type { Shape } from './layers.ts'

/** Parses `w4a8,f16`. */
export const formatsIn = (text: string): BenchFormat[] =>
  text.split(',').map((name) => {
    const format = benchFormats.find((each) => each.name === name)
    if (format) return format
    const names = benchFormats.map((each) => each.name).join(', ')
    throw new InvalidArgumentError(`There is no format '${name}'; there are ${names}.`)
  })

/** Parses `16,1,64`; the fewest first, because many tokens lower the clock for what comes after them. */
export const countsIn = (text: string): number[] =>
  text
    .split(',')
    .map((count) => {
      const value = Number(count)
      if (!Number.isSafeInteger(value) || value < 1)
        throw new InvalidArgumentError(`'${count}' is no number of tokens.`)
      return value
    })
    .sort((a, b) => a - b)

/** Parses `4096x4096,28672x4096`. */
export const shapesIn = (text: string): Shape[] =>
  text.split(',').map((shape) => {
    const [, n, k] = /^(\d+)x(\d+)$/.exec(shape) ?? []
    if (!n || !k) throw new InvalidArgumentError(`'${shape}' is not features x columns, as 4096x14336 is.`)
    return { n: Number(n), k: Number(k) }
  })

/** Parses the JSON of tile constants. */
export function tilesIn(text: string): TileConstants {
  let tiles: unknown
  try {
    tiles = JSON.parse(text)
  } catch (error) {
    throw new InvalidArgumentError(`It is no JSON: ${(error as Error).message}.`)
  }
  if (typeof tiles !== 'object' || tiles === null || !('path' in tiles))
    throw new InvalidArgumentError(`It must be the constants of a tile, with "path": "mma" or "wgmma".`)
  return tiles as TileConstants
}

/** Parses `sm_90a`. */
export function targetIn(text: string): Target {
  if (Object.hasOwn(targets, text)) return targets[text as TargetName]
  throw new InvalidArgumentError(`Targets are ${Object.keys(targets).join(', ')}.`)
}

/** Parses `sm_80`: a target whose kernels are on `mma.sync`. */
export function olderIn(text: string): Target {
  const target = targetIn(text)
  if (target.capability < 90) return target
  throw new InvalidArgumentError('It must be a target without wgmma: sm_80, sm_86 or sm_89.')
}
