import type { AddressOperand, Operand } from '../../ptx/module.ts'
import type { FunctionRef } from '../../wasm/function.ts'
import type { ModuleBuilder } from '../../wasm/module.ts'
import type { F64, I32 } from '../../wasm/operations.ts'
import { copyModule } from '../layout.ts'
import type { Emitter } from './emitter.ts'
import { pushBase } from './memory.ts'

/** The copy engine's functions as imports of a translated module (`CopyImports` in `run/copy-engine.ts`). */
export interface CopyCalls {
  copyBulk(): FunctionRef<readonly ['i32', 'f64', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'], readonly []>
  copyTensor(): FunctionRef<
    readonly ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    readonly []
  >
  storeBulk(): FunctionRef<readonly ['f64', 'i32', 'i32', 'i32', 'i32'], readonly []>
  addBulk(): FunctionRef<readonly ['f64', 'i32', 'i32', 'i32', 'i32', 'i32'], readonly []>
  storeTensor(): FunctionRef<readonly ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'], readonly []>
}

/** Imports what is asked for, when it is asked for. */
export function importCopies(m: ModuleBuilder): CopyCalls {
  const made = new Map<string, FunctionRef>()
  const lazily =
    <const P extends readonly ('i32' | 'f64')[]>(name: string, params: P) =>
    (): FunctionRef<P, readonly []> => {
      const ref = made.get(name) ?? m.importFunction(copyModule, name, params, [])
      made.set(name, ref)
      return ref as unknown as FunctionRef<P, readonly []>
    }
  const i32 = 'i32'
  return {
    copyBulk: lazily('copyBulk', [i32, 'f64', i32, i32, i32, i32, i32, i32]),
    copyTensor: lazily('copyTensor', [i32, i32, i32, i32, i32, i32, i32, i32, i32, i32, i32]),
    storeBulk: lazily('storeBulk', ['f64', i32, i32, i32, i32]),
    addBulk: lazily('addBulk', ['f64', i32, i32, i32, i32, i32]),
    storeTensor: lazily('storeTensor', [i32, i32, i32, i32, i32, i32, i32, i32]),
  }
}

/** Element types of `cp.reduce.async.bulk.add`, as numbers for the copy engine. */
export const addedTypes = ['s32', 'u32', 'f32'] as const

type Operands = readonly (Operand | undefined)[]

/** cp.async.bulk, cp.async.bulk.tensor, cp.reduce.async.bulk and their groups. */
export function bulkCopy(e: Emitter, operands: Operands): void {
  const { w, context } = e
  const { checks } = context
  const { modifiers } = e.instruction
  if (modifiers.commit_group) {
    if (checks) w.call(checks.commitBulk, e.thread())
  } else if (modifiers.wait_group) {
    const pending = operands[0]!
    if (pending.kind !== 'integer') e.fail('the number of groups must be a constant')
    if (checks)
      w.call(
        checks.waitBulk,
        e.thread(),
        w.i32.const(Number(pending.value)),
        w.i32.const(Number(modifiers.read !== undefined)),
      )
  } else if (modifiers.tensor) tensorCopy(e, operands)
  // There are no caches to bring anything into.
  else if (!modifiers.prefetch) linearCopy(e, operands)
}

function linearCopy(e: Emitter, [a, b, size, last, ctas]: Operands): void {
  const { w } = e
  const { copies, state } = e.context
  const { modifiers } = e.instruction
  const [to, from] = [addressOf(e, a), addressOf(e, b)]
  const type = addedTypes.indexOf(modifiers.type as 's32')
  if (modifiers.dst) {
    w.call(
      copies.copyBulk(),
      near(e, to),
      far(e, from),
      e.i32(size!),
      near(e, addressOf(e, last)),
      modifiers.multicast ? e.i32(ctas!) : w.i32.const(0),
      w.get(state),
      ...author(e),
    )
  } else if (modifiers.reduce)
    w.call(copies.addBulk(), far(e, to), near(e, from), e.i32(size!), w.i32.const(type), ...author(e))
  else w.call(copies.storeBulk(), far(e, to), near(e, from), e.i32(size!), ...author(e))
}

function tensorCopy(e: Emitter, [a, b, barrier, ctas]: Operands): void {
  const { w } = e
  const { copies, state } = e.context
  const { modifiers } = e.instruction
  const rank = Number(modifiers.dim![0])
  const [to, from] = [addressOf(e, a), addressOf(e, b)]
  const { coordinates = [] } = modifiers.dst ? from : to
  if (coordinates.length !== rank) e.fail(`${rank} coordinates are expected`)
  const coordinate = (index: number): I32 => (index < rank ? e.i32(coordinates[index]!) : w.i32.const(0))
  if (modifiers.dst)
    w.call(
      copies.copyTensor(),
      near(e, to),
      near(e, from),
      w.i32.const(rank),
      coordinate(0),
      coordinate(1),
      coordinate(2),
      near(e, addressOf(e, barrier)),
      modifiers.multicast ? e.i32(ctas!) : w.i32.const(0),
      w.get(state),
      ...author(e),
    )
  else
    w.call(
      copies.storeTensor(),
      near(e, to),
      w.i32.const(rank),
      coordinate(0),
      coordinate(1),
      coordinate(2),
      near(e, from),
      ...author(e),
    )
}

/** Thread and site, for messages: without checks the site is the instruction's number. */
function author(e: Emitter): [I32, I32] {
  const { checks } = e.context
  const thread = e.thread()
  return [thread, e.w.i32.const(checks ? checks.site(e.instruction) : e.instruction.index)]
}

function addressOf(e: Emitter, operand: Operand | undefined): AddressOperand {
  if (operand?.kind !== 'address') return e.fail('an address is expected')
  return operand
}

function near(e: Emitter, address: AddressOperand): I32 {
  return e.w.i32.add(pushBase(e, address), e.w.i32.const(address.offset))
}

/** A global address as an f64, so that a wild one is seen before it wraps. */
function far(e: Emitter, address: AddressOperand): F64 {
  const { w } = e
  const { base, offset } = address
  if (base.kind === 'register' && base.register.type === 'b64')
    return w.f64.convert_i64_u(w.i64.add(e.i64(base), w.i64.const(offset)))
  return w.f64.convert_i32_u(near(e, address))
}
