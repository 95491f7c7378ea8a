import type { DType } from '../../dsl/dtype.ts'
import type { Kernel } from '../../dsl/kernel.ts'
import type { HostArray } from '../../runtime/tensor.ts'
import type { MatrixUnit } from '../../runtime/tune/roofline.ts'
import { type BlockName, bytesOf } from '../random-tensors.ts'
import type { Row } from '../results.ts'

/** A tensor argument of a case. */
export interface TensorPlan {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly tag?: string
  /** What fills it: a block of random values, or the content of copy number `copy`. */
  readonly data: BlockName | ((copy: number) => HostArray)
  /** Whether each copy of the launch has its own; other tensors are shared. */
  readonly rotates?: boolean
  /** Bytes that a launch touches, where that is not all of it. */
  readonly touched?: number
}

/** One line of the bench: a kernel, its configuration and arguments, and the work that it must do at least. */
export interface KernelCase {
  readonly kernel: Kernel
  readonly config: Readonly<Record<string, unknown>>
  /** What distinguishes the line. */
  readonly parameters: Row
  readonly args: Readonly<Record<string, TensorPlan | number>>
  /** Copies of the tensors that rotate. */
  readonly copies: number
  readonly bytes: number
  readonly ops: number
  readonly unit: MatrixUnit
}

/** More than the caches of any GPU so far: what a step reads from memory is not there from the last replay. */
const rotationBytes = 150e6
/** A launch that reads a few rows only would take thousands. */
const mostCopies = 256

export interface CaseParts<A, C> {
  readonly kernel: Kernel<A, C>
  readonly config: Readonly<Record<string, unknown>>
  readonly parameters: Row
  readonly args: Readonly<Record<string, TensorPlan | number>>
  readonly ops?: number
  readonly unit?: MatrixUnit
  /** Bytes that a copy takes out of the rotation; default: those of the tensors that rotate. */
  readonly rotated?: number
}

/** Completes a case: counts its bytes, and the copies that the rotation takes. */
export function kernelCase<A, C>(parts: CaseParts<A, C>): KernelCase {
  const plans = Object.values(parts.args).filter((arg) => typeof arg !== 'number')
  const bytes = (plan: TensorPlan) => plan.touched ?? bytesOf(plan.dtype, plan.shape)
  const total = (list: readonly TensorPlan[]) => list.reduce((sum, plan) => sum + bytes(plan), 0)
  const rotated = parts.rotated ?? total(plans.filter((plan) => plan.rotates))
  return {
    kernel: parts.kernel as unknown as Kernel,
    config: parts.config,
    parameters: parts.parameters,
    args: parts.args,
    copies: copiesFor(rotated),
    bytes: total(plans),
    ops: parts.ops ?? 0,
    unit: parts.unit ?? 'f16',
  }
}

/** Copies of so many bytes that fill the rotation; one of what does not rotate. */
export const copiesFor = (bytes: number): number =>
  bytes > 0 ? Math.min(mostCopies, Math.ceil(rotationBytes / bytes)) : 1
