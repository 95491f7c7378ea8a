import type { WeightFormat, WeightParts, ZeroHandling } from '../../../dsl/format.ts'
import { f16Bits, f16Value } from '../../../dsl/half.ts'
import { packedShape, type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import type { GemmTiles } from '../../../kernels/gemm/mma.ts'
import { defaultTiles } from '../../../kernels/gemm/mma-tiles.ts'
import { hasScratch } from '../../../kernels/gemm/operands.ts'
import type { ScaledProduct } from '../../../kernels/gemm/reference.ts'
import {
  gemmW4A8,
  gemmW4A8Group,
  gemmW4A8GroupReference,
  gemmW4A8Reference,
  type W4A8GroupName,
} from '../../../kernels/gemm/w4a8.ts'
import { gemmW4A8Scaled, gemmW4A8ScaledReference } from '../../../kernels/gemm/w4a8-scaled.ts'
import { gemmW4A16, gemmW4A16Reference, type W4A16Name } from '../../../kernels/gemm/w4a16.ts'
import { gemmW8A8, gemmW8A8Reference } from '../../../kernels/gemm/w8a8.ts'
import { gemm16, gemm16Reference } from '../../../kernels/gemm/w16.ts'
import { scratchShape, type WgmmaTiles } from '../../../kernels/gemm/wgmma-plan.ts'
import { halfValue, randomHalfs } from '../../support/halfs.ts'
import { type Rng, rng } from '../../support/rng.ts'
import {
  assertSame,
  type HostArguments,
  type HostTensor,
  type KernelCase,
  type OutputType,
  unwritten,
} from '../../support/run-kernel.ts'

export interface GemmOptions {
  readonly M: number
  readonly N: number
  readonly K: number
  readonly seed: number
  readonly dtype?: 'f16' | 'bf16'
  readonly bias?: boolean
  readonly residual?: boolean
  readonly zero?: ZeroHandling
  /** Columns of a group of W4A8; 128 unless given. */
  readonly group?: 128 | 64 | 32
  /** Output type of gemm16; `dtype` unless given. */
  readonly out?: OutputType
  /** Replaces some or all of the default tile's constants; or the tiles of a kernel on `wgmma`. */
  readonly tiles?: Partial<GemmTiles> | WgmmaTiles
}

const target = { sharedBytes: 99 * 1024 }

const list = <T>(n: number, f: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => f(i))

function constants(
  format: WeightFormatName,
  o: GemmOptions,
): (GemmTiles & { N: number; K: number }) | WgmmaTiles {
  if (o.tiles?.path === 'wgmma') return o.tiles as WgmmaTiles
  const tiles = o.tiles as Partial<GemmTiles> | undefined
  return { N: o.N, K: o.K, ...defaultTiles(format, o, target), ...tiles }
}

/** The constants and the arguments that every GEMM has. */
export function common(format: WeightFormatName, o: GemmOptions, random: Rng) {
  const dtype = o.dtype ?? 'f16'
  const { M, N, bias = false, residual = false } = o
  const tiles = constants(format, o)
  const shares = hasScratch(tiles)
  const config = { dtype, bias, residual, ...tiles, ...(shares && { scratch: true }) }
  const biasBits = bias ? randomHalfs(random, N, dtype, 1) : undefined
  const residualBits = residual ? randomHalfs(random, M * N, dtype, 1) : undefined
  const args: Record<string, HostTensor> = { out: unwritten(o.out ?? dtype, [M, N]) }
  if (shares) {
    const shape = scratchShape(tiles)
    args.scratch = { dtype: 'i32', shape, data: new Int32Array(shape[0] * shape[1]) }
  }
  if (biasBits) args.bias = { dtype, shape: [N], data: biasBits }
  if (residualBits) args.residual = { dtype, shape: [M, N], data: residualBits }
  return { config, args, dtype, bias: biasBits, residual: residualBits }
}

/** `make()`, when it is asked for first. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** A case with other tiles: of the same operands, whose product it checks by. Its own tiles must be the plainest. */
export function withTiles(c: KernelCase, tiles: WgmmaTiles): KernelCase {
  const takesScratch: boolean = hasScratch(tiles)
  if (!takesScratch) return { ...c, config: { ...c.config, ...tiles } }
  const shape = scratchShape(tiles)
  const scratch = { dtype: 'i32', shape, data: new Int32Array(shape[0] * shape[1]) } as const
  return { ...c, config: { ...c.config, ...tiles, scratch: true }, args: { ...c.args, scratch } }
}

function caseName(name: string, o: GemmOptions, tiles: GemmTiles | WgmmaTiles): string {
  const extras = [
    o.group && `groups of ${o.group}`,
    o.zero,
    o.dtype,
    o.out && `out ${o.out}`,
    o.bias && 'bias',
    o.residual && 'residual',
  ]
  return `${name} M=${o.M} N=${o.N} K=${o.K} ${tilesName(tiles)} ${extras.filter(Boolean).join(' ')}`
}

function tilesName(t: GemmTiles | WgmmaTiles): string {
  if (t.path === 'mma')
    return `tile ${t.tileM}x${t.tileN}x${t.tileK} stages ${t.stages} warps ${t.warpsN}x${t.warpsK}`
  const groups = `rows ${t.rowGroups}x${t.blocks} along K ${t.kGroups} split ${t.split} multicast ${t.multicast}`
  return `wgmma tokens ${t.tokens} ${groups} units ${t.units} stages ${t.stages} steps ${t.steps} producers ${t.producers}`
}

/** Quantized activations as the quantizing kernels give them: codes in [−127, 127], with extremes in every row. */
export function activations(random: Rng, M: number, K: number) {
  const x = Int8Array.from(list(M * K, (i) => (i % K < 2 ? (i % 2 ? 127 : -127) : random.integer(-127, 127))))
  const xScale = Float32Array.from(list(M, () => 0.001 + 0.01 * random.uniform()))
  const xSum = Int32Array.from(list(M, (m) => x.subarray(m * K, (m + 1) * K).reduce((sum, v) => sum + v, 0)))
  return { x, xScale, xSum }
}

/** A case of an integer kernel: bit for bit. */
function integerCase(
  kernel: KernelCase['kernel'],
  format: WeightFormatName,
  o: GemmOptions,
  make: (
    random: Rng,
    sums: Int32Array,
  ) => { weights: WeightParts; args: HostArguments; reference(p: ScaledProduct): Uint16Array },
): KernelCase {
  const random = rng(o.seed)
  const { M, N, K } = o
  const { config, args, dtype, bias, residual } = common(format, o, random)
  const { x, xScale, xSum } = activations(random, M, K)
  const scale = Uint16Array.from(list(N, () => f16Bits(0.001 + 0.02 * random.uniform())))
  const { weights, args: own, reference } = make(random, xSum)
  const f: WeightFormat = weightFormats[format]
  const expected = once(() => reference({ M, N, K, dtype, x, xScale, scale, bias, residual }))
  return {
    name: caseName(kernel.name, o, config),
    kernel,
    config: { ...config, ...(o.zero && { zero: o.zero }), ...(f.group > 0 && { format }) },
    args: {
      w: { dtype: 'u32', shape: packedShape(f, N, K), data: f.pack(weights, N, K), tag: f.tag },
      scale: { dtype: 'f16', shape: [N], data: scale },
      x: { dtype: 'i8', shape: [M, K], data: x },
      xScale: { dtype: 'f32', shape: [M], data: xScale },
      ...own,
      ...args,
    },
    check({ out }) {
      assertSame(out!, expected(), N)
    },
  }
}

export const w4a8Case = (o: GemmOptions): KernelCase =>
  integerCase(gemmW4A8, 'w4a8', { zero: 'epilogue', ...o }, (random, sums) => {
    const codes = Uint8Array.from(list(o.N * o.K, () => random.integer(0, 15)))
    const zero = Uint8Array.from(list(o.N, () => random.integer(0, 15)))
    return {
      weights: { codes },
      args: {
        zero: { dtype: 'u8', shape: [o.N], data: zero },
        xSum: { dtype: 'i32', shape: [o.M], data: sums },
      },
      reference: (p) => gemmW4A8Reference({ codes, zero }, p),
    }
  })

/** Group parameters reach their bounds: with zero 'register' minima also wrap around, as −z · s2 of QServe does. */
export function w4a8GroupCase(o: GemmOptions): KernelCase {
  const { zero = 'epilogue', group = 128 } = o
  const format: W4A8GroupName = `w4a8-g${group}`
  return integerCase(gemmW4A8Group, format, { ...o, zero }, (random, sums) => {
    const groups = (o.N * o.K) / group
    const codes = Uint8Array.from(list(o.N * o.K, () => random.integer(0, 15)))
    const groupScale = Uint8Array.from(list(groups, () => random.integer(1, 16)))
    const groupMin = Int8Array.from(groupScale, (s) =>
      zero === 'register' ? -s * random.integer(0, 15) : random.integer(-119, 126 - 15 * s),
    )
    const weights = { codes, groupScale, groupMin, wraps: zero === 'register' }
    return {
      weights,
      args: { xSum: { dtype: 'i32', shape: [o.M], data: sums } },
      reference: (p) => gemmW4A8GroupReference(format, weights, p),
    }
  })
}

/** Activations of QServe: scales and sums of what was quantized are f16 values, the sums not quite those of the codes. */
export const w4a8ScaledCase = (o: GemmOptions): KernelCase =>
  integerCase(gemmW4A8Scaled, 'w4a8', o, (random, sums) => {
    const codes = Uint8Array.from(list(o.N * o.K, () => random.integer(0, 15)))
    const scaledZero = Uint16Array.from(list(o.N, () => f16Bits(0.2 * random.uniform())))
    const inputSum = Float32Array.from(sums, (sum) =>
      f16Value(f16Bits(sum * 0.005 * (1 + random.normal() / 50))),
    )
    return {
      weights: { codes },
      args: {
        scaledZero: { dtype: 'f16', shape: [o.N], data: scaledZero },
        inputSum: { dtype: 'f32', shape: [o.M], data: inputSum },
      },
      reference: (p) => gemmW4A8ScaledReference(codes, { ...p, scaledZero, inputSum }),
    }
  })

export const w8a8Case = (o: GemmOptions): KernelCase =>
  integerCase(gemmW8A8, 'w8a8', o, (random) => {
    const codes = Int8Array.from(list(o.N * o.K, () => random.integer(-127, 127)))
    return { weights: { codes }, args: {}, reference: (p) => gemmW8A8Reference(codes, p) }
  })

/**
 * Whether floats are what sums of K products may give: each addition in f32 errs by at most 2⁻²² of the magnitudes summed
 * so far (tensor cores may truncate), or all by `error`, and the output is rounded once.
 */
export function assertNear(
  bits: ArrayLike<number>,
  { value, magnitude }: { value: Float64Array; magnitude: Float64Array },
  out: 'f16' | 'bf16' | 'f32',
  { N, K }: { readonly N: number; readonly K: number },
  error = (K + 2) * 2 ** -22,
): void {
  const rounding = out === 'f32' ? 0 : out === 'bf16' ? 2 ** -8 : 2 ** -11
  value.forEach((expected, i) => {
    const actual = out === 'f32' ? bits[i]! : halfValue[out](bits[i]!)
    const bound = error * magnitude[i]! + rounding * Math.abs(expected) * 1.01 + 2 ** -25
    if (!(Math.abs(actual - expected) <= bound)) {
      const at = `[${Math.floor(i / N)}, ${i % N}]`
      throw new Error(`out${at} is ${actual}, expected ${expected} within ${bound}`)
    }
  })
}

/** A case of the 16-bit kernel, against float64. */
export function gemm16Case(o: GemmOptions): KernelCase {
  const random = rng(o.seed)
  const { M, N, K } = o
  const { config, args, dtype, bias, residual } = common('w16', o, random)
  const out = o.out ?? dtype
  const w = randomHalfs(random, N * K, dtype, 0.1)
  const x = randomHalfs(random, M * K, dtype, 1)
  const f = weightFormats.w16
  const expected = once(() => gemm16Reference({ M, N, K, dtype, w, x, bias, residual }))
  return {
    name: caseName(gemm16.name, o, config),
    kernel: gemm16,
    config: { ...config, out },
    args: {
      w: { dtype: 'u32', shape: packedShape(f, N, K), data: f.pack({ codes: w }, N, K), tag: f.tag },
      x: { dtype, shape: [M, K], data: x },
      ...args,
    },
    check: ({ out: bits }) => assertNear(bits!, expected(), out as 'f32', o),
  }
}

/** A case of 4-bit weights beside 16-bit activations, against float64 of the weights that the format stands for. */
export function w4a16Case(o: GemmOptions): KernelCase {
  const random = rng(o.seed)
  const { M, N, K, group = 128 } = o
  const format: W4A16Name = `w4a16-g${group}`
  const { config, args, dtype, bias, residual } = common(format, o, random)
  const out = o.out ?? dtype
  const f = weightFormats[format]
  const codes = Uint8Array.from(list(N * K, () => random.integer(0, 15)))
  const scale = Uint16Array.from(list((N * K) / group, () => f16Bits(0.002 + 0.02 * random.uniform())))
  const zero = Uint8Array.from(scale, () => random.integer(0, 16))
  const weights = { codes, scale, zero }
  const x = randomHalfs(random, M * K, dtype, 1)
  return {
    name: caseName(gemmW4A16.name, o, config),
    kernel: gemmW4A16,
    config: { ...config, format, out },
    args: {
      w: { dtype: 'u32', shape: packedShape(f, N, K), data: f.pack(weights, N, K), tag: f.tag },
      x: { dtype, shape: [M, K], data: x },
      ...args,
    },
    check: ({ out: bits }) =>
      assertNear(
        bits!,
        gemmW4A16Reference(format, weights, { M, N, K, dtype, x, bias, residual }),
        out as 'f32',
        o,
      ),
  }
}
