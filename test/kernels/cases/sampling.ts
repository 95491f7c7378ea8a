import * as assert from 'uvu/assert'
import { f16FromF32, f32FromF16 } from '../../../dsl/half.ts'
import { bitWordsOf } from '../../../kernels/sampling/groups.ts'
import { adjustReference, type Bias, keptReference, logProbsOf } from '../../../kernels/sampling/reference.ts'
import { neutral, type SamplingSettings } from '../../../kernels/sampling/settings.ts'
import type { Device } from '../../../runtime/device.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { type SampledRow, sampleRows } from '../../support/sampled-rows.ts'
import { coarseLogits } from './logits.ts'

/** What must hold of the kernels of sampling, on any device. */
export interface SamplingCase {
  readonly name: string
  /** Whether it is of many rows: slow where accesses are checked. */
  readonly isLong?: boolean
  run(device: Device): Promise<void>
}

const ways: Readonly<Record<string, Partial<SamplingSettings>>> = {
  everything: {},
  hot: { temperature: 3 },
  cold: { temperature: 0.3 },
  'top-k': { topK: 5 },
  'top-k of more than there are': { topK: 1000 },
  'top-p': { topP: 0.7 },
  'top-p of nothing': { topP: 0 },
  'min-p': { minP: 0.2 },
  'min-p of all': { minP: 1 },
  'top-p, min-p': { topP: 0.9, minP: 0.1 },
  'top-k, min-p': { topK: 30, minP: 0.1 },
  'all cuts': { temperature: 1.5, topK: 20, topP: 0.9, minP: 0.05 },
}

/** A vocabulary, the type of its logits, and for how many of them there is room. */
interface Room {
  readonly V: number
  readonly candidates: number
  readonly dtype: 'f32' | 'f16'
}

const nameOf = ({ V, candidates, dtype }: Room): string => ` V=${V} ${dtype}, room for ${candidates}`

/**
 * Draws from one row of logits under one setting, with as many seeds as `draws`: every drawn id must be among those that
 * the sorting reference keeps, and the counts must fit their probabilities.
 */
export function distributionCase(
  way: string,
  { V, draws, seed, ...how }: Room & { readonly draws: number; readonly seed: number },
): SamplingCase {
  const settings = { ...neutral, ...ways[way] }
  return {
    name: `sampling ${way}${nameOf({ V, ...how })}`,
    isLong: true,
    async run(device) {
      const logits = coarseLogits(rng(seed), V)
      const rows = Array.from({ length: draws }, (_, i) => ({
        logits,
        settings: { ...settings, seed: 7 + (i >> 3) },
        step: i & 7,
      }))
      const { ids } = await sampleRows(device, rows, how)
      checkCounts(ids, keptReference(logits, settings))
    },
  }
}

/** χ² of drawn ids. Its 99.99 % point with n degrees of freedom is below n + 5.3·√n + 16 for all n. */
function checkCounts(ids: Int32Array, kept: ReadonlyMap<number, number>): void {
  const counts = new Map<number, number>()
  for (const id of ids) {
    if (!kept.has(id)) throw new Error(`id ${id} was drawn and is not among the ${kept.size} kept`)
    counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  // Ids that are expected fewer than five times are counted together.
  let chi = 0
  let freedom = -1
  let [rareCount, rareExpected] = [0, 0]
  const add = (count: number, expected: number) => {
    chi += (count - expected) ** 2 / expected
    freedom++
  }
  for (const [id, probability] of kept) {
    const count = counts.get(id) ?? 0
    const expected = probability * ids.length
    if (count === 0 && expected >= 20)
      throw new Error(`id ${id} is kept with probability ${probability} and was not drawn`)
    if (expected >= 5) add(count, expected)
    else [rareCount, rareExpected] = [rareCount + count, rareExpected + expected]
  }
  if (rareExpected >= 5) add(rareCount, rareExpected)
  const bound = freedom + 5.3 * Math.sqrt(Math.max(freedom, 0)) + 16
  if (chi > bound) throw new Error(`chi-square is ${chi} with ${freedom} degrees of freedom, over ${bound}`)
}

/** Greedy takes the first of the largest, whatever else is set; a row of −∞ gives 0. */
const greedyCase = ({ V, ...how }: Room, B: number): SamplingCase => ({
  name: `sampling greedily${nameOf({ V, ...how })}`,
  async run(device) {
    const random = rng(V)
    const rows = Array.from({ length: B }, (_, i) => {
      const logits = coarseLogits(random, V)
      if (i === 1) logits.fill(Number.NEGATIVE_INFINITY)
      if (i === 2) logits.fill(-1.5)
      const settings = { ...neutral, temperature: 0, topK: random.integer(0, 5), topP: random.uniform() }
      return { logits, settings: { ...settings, minP: random.uniform(), seed: i } }
    })
    const { ids } = await sampleRows(device, rows, how)
    assert.equal(
      [...ids],
      rows.map(({ logits }) => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))),
    )
  },
})

/** Biases of a row: found in one round of reads, in two, in three, and behind the first 512. */
const biasCounts = [9, 60, 300, 1300]

/** Rows of all kinds: settings, histories, biases, bitmasks. */
export function mixedRows(random: Rng, V: number, B: number): SampledRow[] {
  const ids = (n: number) => Array.from({ length: n }, () => random.integer(0, V - 1))
  const names = Object.keys(ways)
  return Array.from({ length: B }, (_, i) => {
    const penalties = {
      repetitionPenalty: 0.5 + random.uniform(),
      presencePenalty: random.normal(),
      frequencyPenalty: random.normal(),
    }
    const settings = { ...neutral, ...ways[names[i % names.length]!], seed: random.integer(0, 2 ** 40) }
    const biases: Bias[] = [...new Set(ids(i % 3 === 1 ? biasCounts[i % biasCounts.length]! : 0))].map(
      (id) => ({
        id,
        value: random.uniform() < 0.3 ? Number.NEGATIVE_INFINITY : 3 * random.normal(),
        until: random.integer(0, 12),
      }),
    )
    const stride = 2 + (i % 5)
    return {
      logits: coarseLogits(random, V),
      settings: { ...settings, ...(i % 2 === 1 && penalties), ...(i % 7 === 0 && { temperature: 0 }) },
      topLogProbs: i % 4 === 3 ? -1 : (7 * i) % 21,
      context: {
        prompt: ids(i),
        output: ids(i % 11).flatMap((id, j) => Array<number>(1 + (j % 3)).fill(id)),
        biases,
        ...(i % 4 === 2 && { allowed: (id: number) => id % stride === 1 || id === V - 1 }),
      },
    }
  })
}

const contextOf = ({ context }: SampledRow) => ({ prompt: [], output: [], biases: [], ...context })

/** Penalties, biases and bitmasks change the logits bit for bit as they should, and what is drawn is noted. */
const adjustCase = ({ V, ...how }: Room, B: number): SamplingCase => ({
  name: `sampling changes logits and notes what it drew${nameOf({ V, ...how })}`,
  async run(device) {
    const rows = mixedRows(rng(V + 1), V, B)
    const { adjusted, ids, lastIds, steps, touched, history, arrivals } = await sampleRows(device, rows, how)
    assert.equal(arrivals, new Int32Array(B), 'arrivals are cleared for the next step')
    for (const [i, row] of rows.entries()) {
      const exact = adjustReference(row.logits, row.settings, contextOf(row))
      const expected = how.dtype === 'f32' ? exact : f32FromF16(f16FromF32(exact))
      assert.equal(adjusted.subarray(i * V, (i + 1) * V), expected, `logits of row ${i}`)
      const { prompt, output, biases } = contextOf(row)
      const id = ids[i]!
      assert.is(lastIds[i], id)
      assert.is(steps[i], output.length + 1)
      if (row.settings.repetitionPenalty === 1) continue
      const all = [...output, id]
      for (const seen of new Set([...prompt, ...all, ...biases.map((bias) => bias.id)])) {
        const half = (history[i * Math.ceil(V / 2) + (seen >> 1)]! >>> (16 * (seen & 1))) & 0xffff
        assert.is(half & 1, Number(prompt.includes(seen)))
        assert.is((half >> 1) & 0x3fff, all.filter((other) => other === seen).length)
        assert.is((touched[i * bitWordsOf(V) + (seen >> 5)]! >>> (seen & 31)) & 1, 1)
      }
    }
  },
})

/** Exponents are rounded to multiples of 2⁻¹² (of log2): by 2⁻¹³ at most, and so is the logarithm of their powers' sum. */
const reportCase = ({ V, ...how }: Room, B: number): SamplingCase => ({
  name: `log-probabilities${nameOf({ V, ...how })}`,
  async run(device) {
    const rows = mixedRows(rng(V + 2), V, B)
    const { ids, adjusted, chosen, topIds, top } = await sampleRows(device, rows, how)
    for (const [i, { topLogProbs }] of rows.entries()) {
      const logits = adjusted.subarray(i * V, (i + 1) * V)
      if (topLogProbs === -1 || logits.every((logit) => logit === Number.NEGATIVE_INFINITY)) continue
      const expected = logProbsOf(logits)
      const near = (actual: number, wanted: number) =>
        assert.ok(actual === wanted || Math.abs(actual - wanted) <= 2 ** -13, `${actual}, expected ${wanted}`)
      near(chosen[i]!, expected[ids[i]!]!)
      const possible = [...expected.keys()].filter((id) => expected[id]! > Number.NEGATIVE_INFINITY)
      const order = possible.sort((a, b) => expected[b]! - expected[a]! || a - b).slice(0, topLogProbs)
      for (let place = 0; place < topLogProbs!; place++) {
        assert.is(topIds[20 * i + place], order[place] ?? -1, `row ${i}, place ${place}`)
        near(top[20 * i + place]!, expected[order[place]!] ?? Number.NEGATIVE_INFINITY)
      }
      assert.is(topIds[20 * i + topLogProbs!] ?? -2, topLogProbs === 20 ? (topIds[20 * i + 20] ?? -2) : -2)
    }
  },
})

/** A row draws the same alone, in any slot, and beside rows of padding. */
const invarianceCase = ({ V, ...how }: Room, B: number): SamplingCase => ({
  name: `sampling does not depend on the batch${nameOf({ V, ...how })}`,
  async run(device) {
    const rows = mixedRows(rng(V + 3), V, B)
    const together = await sampleRows(device, rows, how)
    assert.ok(new Set(together.ids).size > Math.min(B, V) / 3)
    const shuffled = rows.map((row, i) => ({ ...row, slot: B - 1 - i })).reverse()
    const padded = shuffled.flatMap((row) => [{ ...row, slot: -1 }, row])
    const others = await sampleRows(device, padded, how)
    for (let i = 0; i < B; i++) {
      const at = 2 * (B - 1 - i)
      assert.is(others.ids[at], -2, 'padding draws nothing')
      assert.is(others.ids[at + 1], together.ids[i], `row ${i}`)
      assert.is(others.chosen[at + 1], together.chosen[i])
    }
    for (const i of [0, B - 1])
      assert.is((await sampleRows(device, [rows[i]!], how)).ids[0], together.ids[i], `row ${i} alone`)
  },
})

/** What no model should give, and one token that is left. */
const oddCase = ({ V, ...how }: Room): SamplingCase => ({
  name: `sampling of rows that are infinite, undefined or masked${nameOf({ V, ...how })}`,
  async run(device) {
    const random = rng(V + 4)
    const rows = [
      new Float32Array(V).fill(Number.NEGATIVE_INFINITY),
      new Float32Array(V).fill(Number.NaN),
      coarseLogits(random, V).fill(Number.POSITIVE_INFINITY, 3, 4),
      coarseLogits(random, V).fill(Number.NaN, 0, V >> 1),
      coarseLogits(random, V).map((logit) => logit * 1e30),
      new Float32Array(V).fill(Number.NEGATIVE_INFINITY).fill(-3, V - 2, V - 1),
    ]
    const expected: Readonly<Record<number, number>> = { 0: 0, 1: 0, 2: 3, 5: V - 2 }
    for (const settings of [
      { temperature: 0 },
      { temperature: 1e-30, topP: 0.9 },
      { topK: 7, topP: 0.9 },
      {},
    ]) {
      const list = rows.map((logits) => ({ logits, settings: { ...neutral, ...settings }, topLogProbs: 3 }))
      const { ids } = await sampleRows(device, list, how)
      for (const [i, id] of ids.entries()) {
        assert.ok(id >= 0 && id < V, `row ${i} gives ${id}`)
        if (expected[i] !== undefined) assert.is(id, expected[i], `row ${i}, ${JSON.stringify(settings)}`)
      }
      assert.ok(ids[3]! >= V >> 1, 'no number is not drawn')
    }
  },
})

/** All cases; `large` are those of a GPU. */
export function samplingCases({ large }: { readonly large: boolean }): SamplingCase[] {
  // Room for few candidates leads to proposals, which else only flat rows do. A program is compiled for each pair.
  const rooms: readonly Room[] = [
    { V: 300, candidates: 8, dtype: 'f16' },
    { V: 4101, candidates: 2048, dtype: 'f32' },
    ...(large
      ? ([
          { V: 7, candidates: 2048, dtype: 'f16' },
          { V: 32000, candidates: 8, dtype: 'f16' },
          { V: 128256, candidates: 2048, dtype: 'f16' },
        ] as const)
      : []),
  ]
  const distributions: readonly (Room & { readonly draws: number })[] = [
    { V: 300, candidates: 8, dtype: 'f16', draws: large ? 4000 : 300 },
    { V: 300, candidates: 2048, dtype: 'f32', draws: large ? 4000 : 300 },
    ...(large
      ? [8, 2048].map((candidates) => ({ V: 8192, candidates, dtype: 'f16', draws: 2000 }) as const)
      : []),
  ]
  return [
    ...rooms.map((room) => greedyCase(room, 5)),
    ...Object.keys(ways).flatMap((way) =>
      distributions.map((size) => distributionCase(way, { ...size, seed: 30 + size.V })),
    ),
    ...rooms.map((room) => adjustCase(room, large ? 24 : 14)),
    ...rooms.map((room) => reportCase(room, large ? 24 : 9)),
    ...rooms.map((room) => invarianceCase(room, large ? 32 : 12)),
    ...rooms.map((room) => oddCase(room)),
  ]
}
