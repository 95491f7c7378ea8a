import type { Kernel } from '../dsl/kernel.ts'
import { decodeAttention } from './attention/decode.ts'
import { decodeConfig } from './attention/decode-shape.ts'
import { planAttention, planConfig } from './attention/plan.ts'
import { prefillAttention } from './attention/prefill.ts'
import { planPrefill } from './attention/prefill-plan.ts'
import { hasPrefill, prefillConfig, tileTokens } from './attention/prefill-shape.ts'
import { embedTokens } from './embed-tokens.ts'
import { type WeightFormatName, weightFormats } from './formats/index.ts'
import { type KvFormatName, kvConfig, kvFormats } from './formats/kv.ts'
import { geluMul, geluMulQuantize } from './gelu-mul.ts'
import { gemmW4A8Grouped, gemmW4A8GroupGrouped, gemmW8A8Grouped } from './gemm/grouped.ts'
import { defaultGroupedTiles } from './gemm/grouped-tiles.ts'
import { defaultTiles } from './gemm/mma-tiles.ts'
import { gemmConstants, type TileConstants } from './gemm/operands.ts'
import { gemmW4A8, gemmW4A8Group, gemmW4A8SiluMul } from './gemm/w4a8.ts'
import { gemmW4A8Scaled } from './gemm/w4a8-scaled.ts'
import { gemmW4A16 } from './gemm/w4a16.ts'
import { gemmW8A8 } from './gemm/w8a8.ts'
import { gemm16 } from './gemm/w16.ts'
import { defaultWgmmaTiles } from './gemm/wgmma-tiles.ts'
import { groupTiles } from './group-tiles.ts'
import { logProbs } from './log-probs.ts'
import { convertHalf, packHalf } from './pack-half.ts'
import { quantizeRows, quantizeRowsFp8, quantizeRowsSumming } from './quantize-rows.ts'
import { addRmsNormQuantize, rmsNorm, rmsNormQuantize, rmsNormRows } from './rms-norm.ts'
import { ropeAppend } from './rope-append.ts'
import { openSlot } from './sampling/open-slot.ts'
import { reportLogProbs } from './sampling/report.ts'
import { sampleTokens } from './sampling/sample.ts'
import { siluMul, siluMulQuantize } from './silu-mul.ts'

/** A kernel of ours and a configuration that shows all of it. */
export interface BuiltinKernel {
  readonly kernel: Kernel
  readonly config: Readonly<Record<string, unknown>>
}

/** A shape to compile for; kernels depend on it through their constants alone. */
export interface BuiltinShape {
  readonly dtype: 'f16' | 'bf16'
  readonly hidden: number
  readonly intermediate: number
  readonly vocabulary: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
}

/** The smallest Llama that uses every feature: grouped queries, a head dimension of 128, groups of 128 columns. */
export const defaultShape: BuiltinShape = {
  dtype: 'f16',
  hidden: 512,
  intermediate: 1408,
  vocabulary: 8192,
  heads: 4,
  kvHeads: 2,
  headDim: 128,
}

/** Tokens for which GEMM tiles are chosen: a decode step, a small batch, a prompt. */
const tokenCounts = [1, 32, 256]

/** Each of some values once. */
const distinct = <T>(values: readonly T[]): T[] => [
  ...new Map(values.map((value) => [JSON.stringify(value), value])).values(),
]

/**
 * Every kernel of ours with the configurations that a model of that shape runs, whatever its formats.
 *
 * @param target bounds the shared memory of GEMM tiles, and has 8-bit floats or not.
 */
export function builtinKernels(
  target: { readonly sharedBytes: number; readonly capability?: number },
  shape: BuiltinShape = defaultShape,
): BuiltinKernel[] {
  const { dtype, hidden: H, intermediate: I, vocabulary: V, heads: Hq, kvHeads: Hkv, headDim: D } = shape
  const list: BuiltinKernel[] = []
  // Constants are checked when a kernel is compiled; the list holds kernels of all types.
  const add = <A, C>(kernel: Kernel<A, C>, config: Readonly<Record<string, unknown>>) =>
    list.push({ kernel: kernel as unknown as Kernel, config })
  // Token counts may share tiles.
  const tiles = (format: WeightFormatName) =>
    distinct(tokenCounts.map((M) => defaultTiles(format, { M, N: H, K: H }, target)))

  // Smaller groups differ in a few instructions: one tile shows them.
  const scaledTiles = (format: WeightFormatName) =>
    format.endsWith('g128') ? tiles(format) : tiles(format).slice(0, 1)

  add(embedTokens, { dtype, V, H })
  add(packHalf, { K: H, from: 'bf16', to: dtype })
  add(convertHalf, { K: H, from: 'bf16', to: 'f16' })
  add(rmsNorm, { dtype, H })
  add(rmsNormRows, { dtype, H })
  add(rmsNormQuantize, { dtype, H })
  add(addRmsNormQuantize, { dtype, H })
  add(quantizeRows, { dtype, H })
  add(quantizeRowsSumming, { dtype, H })
  if ((target.capability ?? 0) >= 89) add(quantizeRowsFp8, { dtype, H })
  add(siluMul, { dtype, I })
  add(siluMulQuantize, { dtype, I })
  for (const form of ['erf', 'tanh'] as const) {
    add(geluMul, { dtype, I, form })
    add(geluMulQuantize, { dtype, I, form })
  }
  add(sampleTokens, { V, dtype: 'f16', candidates: 2048 })
  add(reportLogProbs, { V, dtype: 'f16', candidates: 2048, most: 20 })
  add(openSlot, { V })
  add(logProbs, { V, dtype: 'f32' })
  for (const kv of Object.keys(kvFormats) as KvFormatName[]) {
    const heads = { dtype, D, Hq, Hkv, HqD: Hq * D, ...kvConfig(kv, dtype, D) }
    add(ropeAppend, { ...heads, R: D, QKV: (Hq + 2 * Hkv) * D })
    for (const queries of [1, 8]) {
      const parts = { kv, dtype, D, Hq, Hkv, queries, target, multiprocessors: 132 }
      const c = decodeConfig(parts)
      if (c.slots >= 2) add(decodeAttention, { ...c })
      if (kv === 'kv4') add(planAttention, { ...planConfig(c), prompts: target.capability === 90 })
    }
  }
  const gemm = { dtype, N: H, K: H, bias: true, residual: true }
  for (const tile of tiles('w16')) add(gemm16, { ...gemm, ...tile, out: 'f32' })
  for (const format of ['w4a16-g128', 'w4a16-g64', 'w4a16-g32'] as const)
    for (const tile of scaledTiles(format)) add(gemmW4A16, { ...gemm, ...tile, format, out: 'f16' })
  for (const tile of tiles('w4a8').slice(0, 1)) add(gemmW4A8Scaled, { ...gemm, ...tile })
  for (const tile of tiles('w8a8')) add(gemmW8A8, { ...gemm, ...tile })
  for (const zero of ['epilogue', 'register']) {
    for (const tile of tiles('w4a8')) add(gemmW4A8, { ...gemm, ...tile, zero })
    for (const format of ['w4a8-g128', 'w4a8-g64', 'w4a8-g32'] as const)
      for (const tile of scaledTiles(format)) add(gemmW4A8Group, { ...gemm, ...tile, zero, format })
  }
  const gateUp = { M: 32, N: 2 * I, K: H }
  const ending = { dtype, activation: 'silu-mul', out: 'i8' } as const
  const addSiluMul = (tile: TileConstants) =>
    add(gemmW4A8SiluMul, gemmConstants('w4a8', gateUp, tile, ending))
  addSiluMul(defaultTiles('w4a8', gateUp, target))
  add(groupTiles, { Experts: 8, tokens: 16 })
  // wgmma is Hopper's alone.
  if (target.capability === 90) {
    addSiluMul(defaultWgmmaTiles(weightFormats.w4a8, gateUp, 'i8', target)!)
    const grouped = (format: WeightFormatName) =>
      [1, 256, 4096].flatMap((M) => {
        const wgmma = defaultGroupedTiles(weightFormats[format], { M, N: H, K: H, experts: 8 }, target)
        return wgmma ? [{ dtype, bias: true, ...wgmma }] : []
      })
    add(planPrefill, { tileTokens: tileTokens({ D, Hq, Hkv }) })
    for (const kv of ['kv4', 'kv8'] as const)
      if (hasPrefill(kv, D))
        add(prefillAttention, { ...prefillConfig({ kv, dtype, D, Hq, Hkv, multiprocessors: 132 }) })
    for (const c of grouped('w8a8')) add(gemmW8A8Grouped, c)
    for (const zero of ['epilogue', 'register']) {
      for (const c of grouped('w4a8')) add(gemmW4A8Grouped, { ...c, zero })
      for (const c of grouped('w4a8-g128')) add(gemmW4A8GroupGrouped, { ...c, zero, format: 'w4a8-g128' })
    }
  }
  return list
}
