import {
  type OperandType,
  type WeightFormat,
  type WeightFormatName,
  weightFormats,
} from '../../../kernels/formats/index.ts'
import { partialBytes, type WgmmaTiles, wgmmaPlan } from '../../../kernels/gemm/wgmma-plan.ts'
import type { Device } from '../../../runtime/device.ts'
import type { Rng } from '../../support/rng.ts'
import { assertSame, type HostTensor, type KernelCase, runKernel } from '../../support/run-kernel.ts'
import { type GemmOptions, gemm16Case, w4a16Case } from './gemm.ts'
import { fp8Case } from './gemm-fp8.ts'
import { wgmmaTiles } from './wgmma-tiles.ts'

const sharing = (tiles: Partial<WgmmaTiles> & Pick<WgmmaTiles, 'tokens'>): WgmmaTiles =>
  wgmmaTiles({ ...tiles, stages: 0 })

/** The tiles with the shortest ring that a format can have. */
function shortest({ units, ...others }: WgmmaTiles, format: WeightFormat, x: OperandType): WgmmaTiles {
  const tiles = { ...others, units: x === 'e4m3' ? Math.max(1, units) : units }
  let stages = Math.max(3, 2 * tiles.kGroups)
  const isShort = (): boolean => {
    const plan = wgmmaPlan({ ...tiles, stages }, format, x)
    return stages % tiles.kGroups > 0 || partialBytes(tiles, plan) > stages * plan.activationBytes
  }
  while (isShort()) stages++
  return { ...tiles, stages }
}

/** Who sums the slices of K: one warpgroup all of them, warpgroups, CTAs, or warpgroups of CTAs one each. */
const tilesOf = {
  2: [
    sharing({ tokens: 32, rowGroups: 2 }),
    sharing({ tokens: 48, units: 2, producers: 2, ctas: 2 }),
    sharing({ tokens: 16, units: 0.5, blocks: 2 }),
    sharing({ tokens: 8, kGroups: 2, units: 2 }),
    sharing({ tokens: 24, kGroups: 2 }),
    sharing({ tokens: 16, split: 2, producers: 2 }),
    sharing({ tokens: 136, units: 0.5 }),
    sharing({ tokens: 160, rowGroups: 2, units: 0.5, held: 6, ctas: 1 }),
    sharing({ tokens: 136, units: 0.5, held: 16 }),
  ],
  4: [
    sharing({ tokens: 24, rowGroups: 2, ctas: 1 }),
    sharing({ tokens: 8, kGroups: 4, producers: 2 }),
    sharing({ tokens: 16, kGroups: 2, split: 2, units: 2 }),
    sharing({ tokens: 32, kGroups: 2, split: 2, units: 0.5 }),
    sharing({ tokens: 16, split: 4 }),
    sharing({ tokens: 192, rowGroups: 2, units: 0.5, ctas: 1 }),
    sharing({ tokens: 160, rowGroups: 2, units: 0.5, held: 20, ctas: 1, producers: 2 }),
  ],
} as const

const makers: Readonly<Record<string, (o: GemmOptions) => KernelCase>> = {
  'w4a16-g128': w4a16Case,
  'w4a16-g32': (o) => w4a16Case({ ...o, group: 32, dtype: 'bf16' }),
  w16: gemm16Case,
  fp8: (o) => fp8Case('fp8', o),
  'w4a8-fp8': (o) => fp8Case('w4a8-fp8', o),
}

/** The same case of its first `M` tokens. */
function fewer({ args }: KernelCase, M: number): KernelCase['args'] {
  const cut = Object.entries(args).map(([name, value]) => {
    const { shape, data, ...rest } = value as HostTensor
    if (!['x', 'xScale', 'out'].includes(name)) return [name, value]
    const width = data ? data.length / shape[0]! : 0
    return [name, { ...rest, shape: [M, ...shape.slice(1)], ...(data && { data: data.slice(0, M * width) }) }]
  })
  return Object.fromEntries(cut)
}

/** The formats that `assertSlices` knows. */
export const slicedFormats = Object.keys(makers)

/**
 * Checks that sums of slices do not depend on who adds them, nor on the number of tokens: every way to share the slices
 * in turn, or some of them.
 */
export async function assertSlices(
  device: Device,
  {
    format,
    slices,
    units,
    random,
    some,
  }: {
    readonly format: string
    readonly slices: 2 | 4
    readonly units: number
    readonly random: Rng
    readonly some: boolean
  },
): Promise<void> {
  const whole = { M: 37, N: 136, K: 128 * units, seed: 50 + units + slices }
  const f = weightFormats[format as WeightFormatName] as WeightFormat
  const [first, ...others] = tilesOf[slices]
  const tried = some ? [1, 2].map(() => others[random.integer(0, others.length - 1)]!) : others
  let expected: Uint8Array | Uint16Array | undefined
  for (const tiles of [first, ...tried]) {
    const M = expected === undefined ? whole.M : random.integer(1, whole.M)
    const c = makers[format]!({ ...whole, tiles: { ...shortest(tiles, f, f.activations[0]!), slices } })
    const { out } = await runKernel(device, c.kernel, c.config, fewer(c, M))
    if (expected === undefined) c.check({ out: out! })
    expected ??= out as Uint16Array
    assertSame(out!, expected.subarray(0, M * whole.N), whole.N)
  }
}
