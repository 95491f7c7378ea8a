import { f16Bits, f16FromF32, f16Value } from '../../dsl/half.ts'
import type { BuiltinShape } from '../../kernels/builtin.ts'
import { bitWordsOf, groupsOf, pieceStart } from '../../kernels/sampling/groups.ts'
import { historyWordsOf } from '../../kernels/sampling/history.ts'
import { openSlot } from '../../kernels/sampling/open-slot.ts'
import { reportLogProbs } from '../../kernels/sampling/report.ts'
import { sampleTokens } from '../../kernels/sampling/sample.ts'
import { encodeSettings, neutral, SETTINGS_WORDS } from '../../kernels/sampling/settings.ts'
import { rng } from '../../test/support/rng.ts'
import { type KernelCase, kernelCase, type TensorPlan } from './kernel-case.ts'

const settings = { ...neutral, temperature: 0.8, topK: 50, topP: 0.95, minP: 0.02, seed: 7 }
const MOST = 20
const DTYPE = 'f16'

/** The kernels that choose tokens, each alone, for rows that are cut by top-k, top-p and min-p and report the likeliest. */
export function samplingCases({ vocabulary: V }: BuiltinShape, B: number): KernelCase[] {
  const random = rng(V)
  const row = Float32Array.from({ length: V }, () => f16Value(f16Bits(random.normal())))
  const groups = groupsOf(V)
  const zeros = (dtype: 'f32' | 'i32' | 'u32', ...shape: number[]): TensorPlan => {
    const array = { f32: Float32Array, i32: Int32Array, u32: Uint32Array }[dtype]
    return { dtype, shape, data: () => new array(shape.reduce((a, b) => a * b)), touched: 0 }
  }
  const rows = (values: Float32Array) =>
    ({
      dtype: 'f32',
      shape: [B, values.length],
      data: () => Float32Array.from({ length: B * values.length }, (_, i) => values[i % values.length]!),
    }) satisfies TensorPlan
  const record = encodeSettings(settings, { biases: 0, masked: false, topLogProbs: MOST })
  const common = {
    logits: { ...rows(row), dtype: DTYPE, data: () => f16FromF32(rows(row).data()) },
    settings: {
      dtype: 'u32',
      shape: [B, SETTINGS_WORDS],
      data: () => Uint32Array.from({ length: B * SETTINGS_WORDS }, (_, i) => record[i % SETTINGS_WORDS]!),
    },
  } as const
  const history = { touched: zeros('u32', B, bitWordsOf(V)), history: zeros('u32', B, historyWordsOf(V)) }
  const surveyed = surveyOf(row, groups)
  const parameters = { tokens: B }
  return [
    kernelCase({
      kernel: sampleTokens,
      config: { V, dtype: DTYPE, candidates: 2048 },
      parameters,
      args: {
        ...common,
        ...history,
        steps: zeros('i32', B),
        allowed: zeros('u32', B, bitWordsOf(V)),
        biasIds: zeros('i32', B, 1),
        biases: zeros('f32', B, 1),
        biasSteps: zeros('i32', B, 1),
        largest: rows(surveyed.largest),
        sums: rows(surveyed.sums),
        plainSums: rows(surveyed.plainSums),
        arrivals: zeros('i32', B),
        places: {
          dtype: 'i32',
          shape: [B, 2],
          data: () => Int32Array.from({ length: 2 * B }, (_, i) => i >> 1),
        },
        ids: zeros('i32', B),
        lastIds: zeros('i32', B),
      },
    }),
    kernelCase({
      kernel: reportLogProbs,
      config: { V, dtype: DTYPE, candidates: 2048, most: MOST },
      parameters,
      args: {
        ...common,
        slots: { dtype: 'i32', shape: [B], data: () => Int32Array.from({ length: B }, (_, i) => i) },
        logits: { ...common.logits, touched: 0 },
        largest: rows(surveyed.largest),
        plainSums: rows(surveyed.plainSums),
        ids: zeros('i32', B),
        chosen: zeros('f32', B),
        topIds: zeros('i32', B, MOST),
        top: zeros('f32', B, MOST),
      },
    }),
    kernelCase({
      kernel: openSlot,
      config: { V },
      parameters,
      args: { ...history, slot: 0, ids: zeros('i32', 1), marks: zeros('u32', 1) },
    }),
  ]
}

/** What the survey of a row gives, in f64. */
function surveyOf(row: Float32Array, groups: number) {
  const idsOf = (group: number): number[] =>
    Array.from({ length: 64 }, (_, i) => pieceStart(DTYPE, group >> 5, group & 31, i >> 3) + (i & 7)).filter(
      (id) => id < row.length,
    )
  const largest = Float32Array.from({ length: groups }, (_, group) =>
    Math.max(...idsOf(group).map((id) => row[id]!)),
  )
  const sumsAt = (temperature: number) =>
    Float32Array.from({ length: groups }, (_, group) =>
      idsOf(group).reduce((sum, id) => sum + Math.exp((row[id]! - largest[group]!) / temperature), 0),
    )
  return { largest, sums: sumsAt(settings.temperature), plainSums: sumsAt(1) }
}
