import { bitWordsOf, groupsOf, type LogitType } from '../../kernels/sampling/groups.ts'
import { BIASED, historyWordsOf, IN_PROMPT, OCCURRENCE } from '../../kernels/sampling/history.ts'
import { openSlot } from '../../kernels/sampling/open-slot.ts'
import type { RowContext } from '../../kernels/sampling/reference.ts'
import { reportLogProbs } from '../../kernels/sampling/report.ts'
import { sampleTokens } from '../../kernels/sampling/sample.ts'
import {
  encodeSettings,
  hasPenalties,
  type SamplingSettings,
  SETTINGS_WORDS,
} from '../../kernels/sampling/settings.ts'
import type { Device } from '../../runtime/device.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'

/** A row to draw from. */
export interface SampledRow {
  readonly logits: Float32Array
  readonly settings: SamplingSettings
  readonly context?: Partial<RowContext>
  /** Draws of the slot before this one; default: the tokens of its output. */
  readonly step?: number
  readonly topLogProbs?: number
  /** Rows of padding have none. */
  readonly slot?: number
}

export interface Sampled {
  readonly ids: Int32Array
  readonly adjusted: Float32Array
  readonly lastIds: Int32Array
  readonly steps: Int32Array
  readonly touched: Uint32Array
  readonly history: Uint32Array
  /** Of the CTAs of each row, as the step leaves them. */
  readonly arrivals: Int32Array
  readonly chosen: Float32Array
  readonly topIds: Int32Array
  readonly top: Float32Array
}

const most = 20

/** Runs the kernels of sampling over rows, row i in slot i unless it says otherwise. */
export async function sampleRows(
  device: Device,
  rows: readonly SampledRow[],
  { candidates = 2048, dtype = 'f32' }: { readonly candidates?: number; readonly dtype?: LogitType } = {},
): Promise<Sampled> {
  const V = rows[0]!.logits.length
  const B = rows.length
  const owned: Tensor[] = []
  const own = <T extends Tensor>(tensor: T): T => {
    owned.push(tensor)
    return tensor
  }
  const make = (dtype: 'f32' | 'i32' | 'u32', shape: number[]) => own(Tensor.allocate(device, dtype, shape))
  const from = (
    dtype: 'f32' | 'i32' | 'u32',
    shape: number[],
    data: Float32Array | Int32Array | Uint32Array,
  ) => own(Tensor.from(device, dtype, shape, data))

  const slots = Int32Array.from(rows, (row, i) => row.slot ?? i)
  const slotCount = Math.max(1, ...slots.map((slot) => slot + 1))
  const entries = Math.max(1, ...rows.map(({ context }) => context?.biases?.length ?? 0))
  const settings = new Uint32Array(slotCount * SETTINGS_WORDS)
  const steps = new Int32Array(slotCount)
  const words = bitWordsOf(V)
  const allowed = new Uint32Array(slotCount * words)
  const biasIds = new Int32Array(slotCount * entries)
  const biases = new Float32Array(slotCount * entries)
  const biasSteps = new Int32Array(slotCount * entries)
  const touched = make('u32', [slotCount, words])
  const history = make('u32', [slotCount, historyWordsOf(V)])
  const opening = await prepare(
    device,
    openSlot,
    { V },
    {
      slot: 0,
      ids: from('i32', [1], Int32Array.of(0)),
      marks: from('u32', [1], Uint32Array.of(0)),
      touched,
      history,
    },
  )
  for (const [i, row] of rows.entries()) {
    const slot = slots[i]!
    if (slot < 0) continue
    const { prompt = [], output = [], biases: list = [], allowed: allows } = row.context ?? {}
    const record = encodeSettings(row.settings, {
      biases: list.length,
      masked: allows !== undefined,
      topLogProbs: row.topLogProbs ?? -1,
    })
    settings.set(record, slot * SETTINGS_WORDS)
    steps[slot] = row.step ?? output.length
    if (allows)
      for (let id = 0; id < V; id++) if (allows(id)) allowed[slot * words + (id >> 5)]! |= 1 << (id & 31)
    const sorted = list.toSorted((one, other) => one.id - other.id)
    sorted.forEach((bias, at) => {
      biasIds[slot * entries + at] = bias.id
      biases[slot * entries + at] = bias.value
      biasSteps[slot * entries + at] = bias.until
    })
    const marks = new Map<number, number>()
    const mark = (id: number, change: (old: number) => number) => marks.set(id, change(marks.get(id) ?? 0))
    if (hasPenalties(row.settings)) {
      for (const id of prompt) mark(id, (old) => old | IN_PROMPT)
      for (const id of output) mark(id, (old) => old + OCCURRENCE)
    }
    for (const { id } of list) mark(id, (old) => old | BIASED)
    if (marks.size === 0) marks.set(0, 0)
    opening.set({
      slot,
      ids: from('i32', [marks.size], Int32Array.from(marks.keys())),
      marks: from('u32', [marks.size], Uint32Array.from(marks.values())),
    })
    opening.run()
  }

  const common = {
    settings: from('u32', [slotCount, SETTINGS_WORDS], settings),
    steps: from('i32', [slotCount], steps),
    touched,
    history,
  }
  const values = new Float32Array(B * V)
  for (const [i, row] of rows.entries()) values.set(row.logits, i * V)
  const logits = own(Tensor.from(device, dtype, [B, V], values))
  const groups = groupsOf(V)
  const largest = make('f32', [B, groups])
  const sums = make('f32', [B, groups])
  const plainSums = make('f32', [B, groups])
  const arrivals = from('i32', [B], new Int32Array(B))
  const ids = from('i32', [B], new Int32Array(B).fill(-2))
  const lastIds = from('i32', [slotCount], new Int32Array(slotCount).fill(-2))
  const sample = await prepare(
    device,
    sampleTokens,
    { V, dtype, candidates },
    {
      ...common,
      logits,
      allowed: from('u32', [slotCount, words], allowed),
      biasIds: from('i32', [slotCount, entries], biasIds),
      biases: from('f32', [slotCount, entries], biases),
      biasSteps: from('i32', [slotCount, entries], biasSteps),
      largest,
      sums,
      plainSums,
      arrivals,
      places: from('i32', [B, 2], Int32Array.from([...slots.entries()].reverse().flat())),
      lastIds,
      ids,
    },
  )
  const chosen = from('f32', [B], new Float32Array(B).fill(7))
  const topIds = from('i32', [B, most], new Int32Array(B * most).fill(-2))
  const top = from('f32', [B, most], new Float32Array(B * most).fill(7))
  const { settings: table } = common
  const report = await prepare(
    device,
    reportLogProbs,
    { V, dtype, candidates, most },
    {
      logits,
      slots: from('i32', [B], slots),
      largest,
      plainSums,
      settings: table,
      ids,
      chosen,
      topIds,
      top,
    },
  )
  sample.run()
  report.run()
  const read = async <T>(tensor: Tensor) => (await tensor.read()) as T
  const result = {
    ids: await read<Int32Array>(ids),
    adjusted: await logits.readFloats(),
    lastIds: await read<Int32Array>(lastIds),
    steps: await read<Int32Array>(common.steps),
    touched: await read<Uint32Array>(touched),
    history: await read<Uint32Array>(history),
    chosen: await read<Float32Array>(chosen),
    topIds: await read<Int32Array>(topIds),
    top: await read<Float32Array>(top),
    arrivals: await read<Int32Array>(arrivals),
  }
  for (const tensor of owned) tensor.free()
  return result
}
