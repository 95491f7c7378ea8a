import type { BuiltinShape } from '../../kernels/builtin.ts'
import { type KvFormatName, kvConfig, PAGE_TOKENS } from '../../kernels/formats/kv.ts'
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

/**
 * Appending to the cache, for one cache format; `transformed` as checkpoints ask for it whose keys are centred and go through
 * a Hadamard transform, and whose codes cover a part of the range.
 */
export function cacheCase(
  shape: BuiltinShape,
  kv: KvFormatName,
  step: Context,
  transformed = false,
): KernelCase {
  const { dtype, heads: Hq, kvHeads: Hkv, headDim: D } = shape
  const { kind, tokens: T, context } = step
  const constants = kvConfig(kv, dtype, D)
  const QKV = (Hq + 2 * Hkv) * D
  const sequences = kind === 'decode' ? T : 1
  const pagesEach = kind === 'decode' ? 1 : Math.ceil(T / PAGE_TOKENS)
  const rowBytes = 2 * Hkv * (bytesOf(constants.kvElement, [constants.PB]) / PAGE_TOKENS)
  const copies = copiesFor(T * (2 * QKV + rowBytes))
  const pages = copies * sequences * pagesEach
  const positions = Int32Array.from({ length: T }, (_, t) => (kind === 'decode' ? context - 1 : t))
  /** Pages of a copy's sequences, apart from those of other copies. */
  const slotsOf = (copy: number) =>
    positions.map((position, t) => {
      const row = kind === 'decode' ? t : Math.floor(position / PAGE_TOKENS)
      return (row * copies + copy) * PAGE_TOKENS + (position % PAGE_TOKENS)
    })
  const cache: Record<string, TensorPlan> = {
    kv: {
      dtype: constants.kvElement,
      shape: [pages, Hkv, 2, constants.PB],
      data: constants.kvParams ? 'bits' : 'halves',
      touched: T * rowBytes,
    },
    ...(constants.kvParams && {
      kvParams: {
        dtype: 'f16',
        shape: [pages, Hkv, 2, PAGE_TOKENS, 2],
        data: 'halfScales',
        touched: T * 2 * Hkv * 4,
      } as const,
    }),
  }
  return kernelCase({
    kernel: ropeAppend,
    config: {
      ...{ dtype, D, R: D, Hq, Hkv, HqD: Hq * D, QKV, ...constants },
      ...(transformed && { hadamard: true, keyMean: true, kvClip: 0.95 }),
    },
    parameters: { step: kind, tokens: T, context, kv, ...(transformed && { keys: 'centred, transformed' }) },
    args: {
      qkv: { dtype, shape: [T, QKV], data: 'halves', rotates: true },
      positions: { dtype: 'i32', shape: [T], data: () => positions },
      slots: { dtype: 'i32', shape: [T], data: slotsOf, rotates: true },
      cosSin: { dtype: 'f32', shape: [context, D], data: 'normals', touched: T * D * 4 },
      q: { dtype, shape: [T, Hq * D], data: 'halves' },
      ...(transformed && { keyMean: { dtype: 'f32', shape: [Hkv, D], data: 'normals' } as const }),
      ...cache,
    },
    rotated: T * (2 * QKV + rowBytes),
  })
}
