import type { WeightFormat, WeightParts, ZeroHandling } from '../../../dsl/format.ts'
import { f16Bits } from '../../../dsl/half.ts'
import { packedShape, weightFormats } from '../../../kernels/formats/index.ts'
import {
  gemmW4A8Grouped,
  gemmW4A8GroupGrouped,
  gemmW8A8Grouped,
  groupedReference,
} from '../../../kernels/gemm/grouped.ts'
import type { ScaledProduct } from '../../../kernels/gemm/reference.ts'
import { gemmW4A8GroupReference, gemmW4A8Reference } from '../../../kernels/gemm/w4a8.ts'
import { gemmW8A8Reference } from '../../../kernels/gemm/w8a8.ts'
import type { WgmmaTiles } from '../../../kernels/gemm/wgmma-plan.ts'
import { groupTiles, groupTilesReference, mostGroupTiles } from '../../../kernels/group-tiles.ts'
import { randomHalfs } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import {
  assertSame,
  type HostArguments,
  type HostTensor,
  type KernelCase,
  unwritten,
} from '../../support/run-kernel.ts'
import { activations } from './gemm.ts'
import { smallWgmmaTiles } from './gemm-fp8.ts'

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

export interface GroupedOptions {
  readonly format: 'w4a8' | 'w4a8-g128' | 'w8a8'
  /** Tokens of each expert. */
  readonly counts: readonly number[]
  readonly N: number
  readonly K: number
  readonly seed: number
  readonly dtype?: 'f16' | 'bf16'
  readonly bias?: boolean
  readonly zero?: ZeroHandling
  readonly tiles?: Partial<WgmmaTiles>
}

const list = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i))

/** The weights of all experts, what a format has beside them, and the product of one expert on the host. */
interface Experts {
  readonly weights: readonly WeightParts[]
  readonly args: HostArguments
  reference(expert: number, own: ScaledProduct): Uint16Array
}

const expertsOf: Record<GroupedOptions['format'], (o: GroupedOptions, random: Rng) => Experts> = {
  w4a8({ counts, N, K }, random) {
    const E = counts.length
    const codes = list(E, () => Uint8Array.from(list(N * K, () => random.integer(0, 15))))
    const zero = Uint8Array.from(list(E * N, () => random.integer(0, 15)))
    return {
      weights: codes.map((each) => ({ codes: each })),
      args: { zero: { dtype: 'u8', shape: [E, N], data: zero } },
      reference: (e, own) =>
        gemmW4A8Reference({ codes: codes[e]!, zero: zero.subarray(e * N, (e + 1) * N) }, own),
    }
  },
  'w4a8-g128'({ counts, N, K }, random) {
    const weights = counts.map(() => {
      const codes = Uint8Array.from(list(N * K, () => random.integer(0, 15)))
      const groupScale = Uint8Array.from(list((N * K) / 128, () => random.integer(1, 16)))
      const groupMin = Int8Array.from(groupScale, (s) => random.integer(-119, 126 - 15 * s))
      return { codes, groupScale, groupMin }
    })
    return { weights, args: {}, reference: (e, own) => gemmW4A8GroupReference('w4a8-g128', weights[e]!, own) }
  },
  w8a8({ counts, N, K }, random) {
    const codes = counts.map(() => Int8Array.from(list(N * K, () => random.integer(-127, 127))))
    return {
      weights: codes.map((each) => ({ codes: each })),
      args: {},
      reference: (e, own) => gemmW8A8Reference(codes[e]!, own),
    }
  },
}

const kernels = { w4a8: gemmW4A8Grouped, 'w4a8-g128': gemmW4A8GroupGrouped, w8a8: gemmW8A8Grouped } as const

/** A grouped product, bit for bit. What stands past the end of the list would be faults. */
export function groupedCase(o: GroupedOptions): KernelCase {
  const random = rng(o.seed)
  const { format, counts, N, K, dtype = 'f16', bias = false, zero = 'epilogue' } = o
  const E = counts.length
  const M = counts.reduce((sum, n) => sum + n, 0)
  const tiles = { ...smallWgmmaTiles, ...o.tiles }
  const { x, xScale, xSum } = activations(random, M, K)
  const scale = Uint16Array.from(list(E * N, () => f16Bits(0.001 + 0.02 * random.uniform())))
  const biasBits = bias ? randomHalfs(random, E * N, dtype, 1) : undefined
  const { weights, args, reference } = expertsOf[format](o, random)
  const f: WeightFormat = weightFormats[format]
  const [strips, units, words] = packedShape(f, N, K)
  const packed = new Uint32Array(E * strips * units * words)
  weights.forEach((parts, e) => {
    packed.set(f.pack(parts, N, K), e * strips * units * words)
  })
  const entries = groupTilesReference(counts, tiles.tokens)
  const room = mostGroupTiles(M, E, tiles.tokens)
  const padding = list(4 * room - entries.length, () => 1 << 20)
  const has4Bits = format !== 'w8a8'
  const { rowGroups, blocks, kGroups, split, multicast } = tiles
  return {
    name:
      `${kernels[format].name} tokens ${counts} N=${N} K=${K} tile ${tiles.tokens} rows ${rowGroups}x${blocks} ` +
      `along K ${kGroups} split ${split} multicast ${multicast}${bias ? ' bias' : ''} ${dtype}${has4Bits ? ` ${zero}` : ''}`,
    kernel: kernels[format],
    config: { ...tiles, dtype, bias, ...(has4Bits && { zero }), ...(f.group > 0 && { format }) },
    args: {
      w: { dtype: 'u32', shape: [E, strips, units, words], data: packed, tag: f.tag },
      scale: { dtype: 'f16', shape: [E, N], data: scale },
      x: { dtype: 'i8', shape: [M, K], data: x },
      xScale: { dtype: 'f32', shape: [M], data: xScale },
      ...(has4Bits && { xSum: { dtype: 'i32', shape: [M], data: xSum } as HostTensor }),
      ...(biasBits && { bias: { dtype, shape: [E, N], data: biasBits } as HostTensor }),
      ...args,
      tiles: { dtype: 'i32', shape: [room, 4], data: Int32Array.from([...entries, ...padding]) },
      tileCount: { dtype: 'i32', shape: [1], data: Int32Array.of(entries.length / 4) },
      out: unwritten(dtype, [M, N]),
    },
    check({ out }) {
      const p = { M, N, K, dtype, x, xScale, scale, bias: biasBits }
      assertSame(out!, groupedReference(counts, p, reference), N)
    },
  }
}

/** Tiles of every way to share a product: whole sums, sums along K, clusters that split K or share activations. */
export const groupedTiles: Readonly<Record<string, Partial<WgmmaTiles>>> = {
  'whole sums': {},
  'two stagings': { tokens: 64, rowGroups: 2, producers: 2, ctas: 3 },
  'four stagings': { tokens: 128, stages: 3, staging: 4, rowGroups: 2, blocks: 2, steps: 2, ctas: 5 },
  'sixteen tokens staged': { tokens: 80, ctas: 3, steps: 2 },
  'interleaved along K': { kGroups: 4, units: 2, stages: 8, producers: 2 },
  'split over a cluster': { kGroups: 2, split: 2, stages: 8, tokens: 32 },
  'shared activations': { tokens: 32, multicast: 2, ctas: 4 },
  'two warpgroups': { tokens: 64, rowGroups: 2, stages: 4, ctas: 3 },
}
