import type { OperandType, WeightFormat, ZeroHandling } from '../../dsl/format.ts'
import type { DType, f32, In, InOut, i32, Out, u32 } from '../../dsl/index.ts'
import type { GroupTiles, OfExpert } from '../group-tiles.ts'
import type { Finish } from './epilogue.ts'
import type { WgmmaPlan, WgmmaTiles } from './wgmma-plan.ts'

/** The constants of a kernel with `path: 'wgmma'`. */
export interface WgmmaConfig extends WgmmaTiles {
  readonly dtype: DType
  readonly bias: boolean
  readonly residual: boolean
  /** Element type of the output, `dtype` unless given; 'i8' with `outScale`. */
  readonly out?: DType
  readonly outScale?: boolean
  /** Whether there is `scratch`: with tiles of `pieces`, or that `parksSums`. */
  readonly scratch?: boolean
}

export interface WgmmaArguments {
  readonly w: In<u32, 'Strips Units Words', string> | In<u32, 'Experts Strips Units Words', string>
  readonly x: In<number, 'M K'>
  readonly bias?: OfExpert<number>
  readonly residual?: In<number, 'M N'>
  /** Sums of pieces of tiles or of slices of K, as `scratchShape` says. */
  readonly scratch?: InOut<i32, 'Quads 4'>
  /** [M, N], or [M, I] behind an activation. */
  readonly out: Out<number, string>
}

/** What a kernel adds to the shared body. */
export interface WgmmaParts<Row = unknown> extends Finish {
  readonly format: WeightFormat
  readonly zero: ZeroHandling
  /** Element type of the activations. */
  readonly x: OperandType
  /** The words that a format without groups takes for rows n and n + 8 (of an expert) instead of the groups'. */
  rowWords(upper: i32, lower: i32, expert: i32 | undefined): readonly u32[]
  /**
   * What the epilogue needs of `count` rows (of an expert) from n on: loaded at once, and converted when called, so that
   * nobody waits for the loads before then.
   */
  rows(n: i32, count: number, expert: i32 | undefined): readonly (() => Row)[]
  /** What it needs of a token: elements of 32 bits. */
  readonly tokens: readonly In<number, 'M'>[]
  /** The token tiles of a grouped product, where each expert has weights of its own. */
  readonly list?: GroupTiles
  /** The sum of a row and a token, scaled. */
  finish(sum: number, row: Row, token: readonly u32[]): f32
}

/** A product as its parts see it: arguments and constants, what the kernel adds, and what follows from the tiles. */
export interface WgmmaProduct {
  readonly a: WgmmaArguments
  readonly c: WgmmaConfig
  readonly parts: WgmmaParts
  readonly plan: WgmmaPlan
}
