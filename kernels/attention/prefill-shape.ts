import { staticAssert } from '../../dsl/index.ts'
import { type KvConfig, type KvFormatName, kvConfig, kvFormats } from '../formats/kv.ts'

/** How prefill attention on `wgmma` is laid out; everything is static. */
export interface PrefillTiles {
  /** CTAs of the persistent grid. */
  readonly ctas: number
  /** Keys, or values, of units under way from global memory. */
  readonly rawStages: number
  /** Units whose keys, and whose values, are f16 that the warpgroups multiply. */
  readonly keyStages: number
  readonly valueStages: number
  /** Registers of a thread that computes; those that unpack have what is left. */
  readonly registers: number
  /** Whether the warpgroups take turns with the tensor cores. */
  readonly turns: boolean
}

/** The constants of the kernel on `wgmma`. */
export interface PrefillConfig extends KvConfig, PrefillTiles, PrefillShape {
  readonly dtype: 'f16' | 'bf16'
  /** Columns of `q` and `out`: Hq·D. */
  readonly HqD: number
}

export interface PrefillOptions extends PrefillShape {
  readonly kv: KvFormatName
  readonly dtype: 'f16' | 'bf16'
  readonly multiprocessors: number
}

export interface PrefillShape {
  readonly D: number
  readonly Hq: number
  readonly Hkv: number
}

/** Warpgroups that compute, each with rows of its own. */
export const warpgroups = 2

/** Rows of a warpgroup, and of a CTA: query tokens and heads of a group together. */
export const groupRows = 64
export const tileRows = groupRows * warpgroups

/** Threads of a CTA: those that compute, a warpgroup that unpacks, and one of which a thread copies. */
export const prefillThreads = 128 * (warpgroups + 2)

/** Warps that unpack. */
export const unpackers = 4

/** Registers of a thread of the warpgroup that copies, and of one that unpacks: four of a CTA's threads share 512. */
export const copierRegisters = 32
export const unpackerRegisters = (t: PrefillTiles): number =>
  65536 / 128 - warpgroups * t.registers - copierRegisters

/** Query heads that share a key/value head. */
export const groupOf = ({ Hq, Hkv }: PrefillShape): number => Hq / Hkv

/** Query tokens of a tile. */
export const tileTokens = (shape: PrefillShape): number => Math.floor(tileRows / groupOf(shape))

/** Whether the kernel serves these, on `wgmma`: coded caches of heads that fill its registers. */
export const hasPrefill = (kv: KvFormatName, D: number): boolean =>
  kvFormats[kv].bits < 16 && [64, 96, 128].includes(D)

/** The constants of prefill attention on a GPU with so many multiprocessors. */
export function prefillConfig(o: PrefillOptions): PrefillConfig {
  const { kv, dtype, D, Hq, Hkv } = o
  return {
    ...kvConfig(kv, dtype, D),
    dtype,
    D,
    Hq,
    Hkv,
    HqD: Hq * D,
    ctas: o.multiprocessors,
    rawStages: 4,
    keyStages: 2,
    valueStages: 2,
    registers: 200,
    turns: true,
  }
}

/** Refuses shapes that the body on `wgmma` has no way to compute. */
export function checkPrefill(shape: PrefillShape & PrefillTiles, kv: KvConfig): void {
  staticAssert(
    shape.keyStages === 2 || shape.keyStages === 4,
    'keys have 2 or 4 stages, so that a count says which',
  )
  staticAssert(
    shape.rawStages <= 8,
    'so many units would be under way that descriptions of tiles have no room',
  )
  staticAssert(shape.Hq % shape.Hkv === 0, 'query heads must be a multiple of key/value heads')
  staticAssert(groupOf(shape) <= 16, 'at most 16 query heads share a key/value head')
  staticAssert(
    hasPrefill(kv.kv, shape.D),
    `prefill attention on wgmma takes coded caches and heads of 64, 96 or 128, not ${kv.kv} and ${shape.D}`,
  )
}
