import type { BuiltinShape } from '../../kernels/builtin.ts'
import { type KvFormatName, kvConfig, kvFormats, PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { pagedAttention } from '../../kernels/paged-attention.ts'
import { ropeAppend } from '../../kernels/rope-append.ts'
import { bytesOf } from '../random-tensors.ts'
import { copiesFor, type KernelCase, kernelCase, type TensorPlan } from './kernel-case.ts'

/** Where the tokens of a step stand: each in its own sequence, after a context; or all in one, a prompt. */
export interface Context {
  readonly kind: 'decode' | 'prompt'
  readonly tokens: number
  /** Positions that the last token attends to. */
  readonly context: number
}

/** Appending to the cache and attending to it, for one cache format. */
export function cacheCases(shape: BuiltinShape, kv: KvFormatName, step: Context): KernelCase[] {
  const { dtype, heads: Hq, kvHeads: Hkv, headDim: D } = shape
  const { kind, tokens: T, context } = step
  const constants = kvConfig(kv, dtype, D)
  const heads = { dtype, D, Hq, Hkv, HqD: Hq * D, ...constants }
  const sequences = kind === 'decode' ? T : 1
  const pagesEach = Math.ceil(context / PAGE_TOKENS)
  const rowBytes = 2 * Hkv * (bytesOf(constants.kvElement, [constants.DC]) + (constants.kParams ? 4 : 0))
  const positions = Int32Array.from({ length: T }, (_, t) => (kind === 'decode' ? context - 1 : t))
  const read = sequences * context * rowBytes
  const copies = copiesFor(read)
  const pages = copies * sequences * pagesEach

  /** Pages of a copy's sequences, apart from those of other copies. */
  const tableOf = (copy: number) =>
    Int32Array.from({ length: sequences * pagesEach }, (_, i) => i * copies + copy)
  const slotsOf = (copy: number) => {
    const table = tableOf(copy)
    return positions.map((position, t) => {
      const row = kind === 'decode' ? t : 0
      return (
        table[row * pagesEach + Math.floor(position / PAGE_TOKENS)]! * PAGE_TOKENS + (position % PAGE_TOKENS)
      )
    })
  }
  /** The pools, of which a launch touches `rows` of all heads. */
  const pools = (rows: number): Record<string, TensorPlan> => {
    const pool: TensorPlan = {
      dtype: constants.kvElement,
      shape: [pages, Hkv, PAGE_TOKENS, constants.DC],
      data: kvFormats[kv].bits < 16 ? 'bits' : 'halves',
      touched: rows * Hkv * bytesOf(constants.kvElement, [constants.DC]),
    }
    if (!constants.kParams) return { k: pool, v: pool }
    const shape = [pages, Hkv, PAGE_TOKENS, 2]
    const params: TensorPlan = { dtype: 'f16', shape, data: 'halfScales', touched: rows * Hkv * 4 }
    return { k: pool, v: pool, kParams: params, vParams: params }
  }
  const QKV = (Hq + 2 * Hkv) * D
  const tokenPositions: TensorPlan = { dtype: 'i32', shape: [T], data: () => positions }
  const q: TensorPlan = { dtype, shape: [T, Hq * D], data: 'halves' }
  const attended = kind === 'decode' ? T * context : (T * (T + 1)) / 2
  const parameters = { step: kind, tokens: T, context, kv }
  return [
    kernelCase({
      kernel: ropeAppend,
      config: { ...heads, QKV },
      parameters,
      args: {
        qkv: { dtype, shape: [T, QKV], data: 'halves' },
        positions: tokenPositions,
        slots: { dtype: 'i32', shape: [T], data: slotsOf, rotates: true },
        cosSin: { dtype: 'f32', shape: [context, D], data: 'normals', touched: T * D * 4 },
        q,
        ...pools(T),
      },
      rotated: read,
    }),
    kernelCase({
      kernel: pagedAttention,
      config: heads,
      parameters,
      args: {
        q,
        sequence: {
          dtype: 'i32',
          shape: [T],
          data: () => Int32Array.from({ length: T }, (_, t) => (kind === 'decode' ? t : 0)),
        },
        positions: tokenPositions,
        pages: { dtype: 'i32', shape: [sequences, pagesEach], data: tableOf, rotates: true },
        ...pools(sequences * context),
        scale: 1 / Math.sqrt(D),
        out: q,
      },
      ops: 4 * attended * Hq * D,
      rotated: read,
    }),
  ]
}
