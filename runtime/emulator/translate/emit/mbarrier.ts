import type { Operand } from '../../ptx/module.ts'
import type { FunctionRef } from '../../wasm/function.ts'
import type { ModuleBuilder } from '../../wasm/module.ts'
import type { I64 } from '../../wasm/operations.ts'
import type { Emitter } from './emitter.ts'
import { pushBase } from './memory.ts'

/*
 * An mbarrier's 64 bits: the parity of the current phase (bit 0), pending arrivals (1 to 20), expected arrivals (21 to
 * 40), bytes announced and not yet copied (41 to 63, signed). `run/mbarrier.ts` reads them from JavaScript.
 */
const pendingShift = 1
const expectedShift = 21
const bytesShift = 41

/** mbarrier.init and .arrive; waits suspend the warp and are not here. */
export function barrier(e: Emitter, operands: readonly (Operand | undefined)[]): void {
  const { w, context } = e
  const { checks } = context
  const { modifiers } = e.instruction
  const isInit = modifiers.init !== undefined
  const [a, given] = isInit ? operands : operands.slice(1)
  if (!isInit && operands[0]!.kind !== 'sink') e.fail("the state is not kept: '_' is expected for it")
  if (a?.kind !== 'address') {
    e.fail('an address is expected')
    return
  }
  const isExpecting = modifiers.expect_tx !== undefined
  if (isExpecting && !given) e.fail('the number of bytes is missing')
  const address = w.let(w.i32.add(pushBase(e, a), w.i32.const(a.offset)))
  const amount = w.let(given ? e.i32(given) : w.i32.const(1))
  if (checks) {
    const call = isInit ? checks.initBarrier : isExpecting ? checks.arriveExpecting : checks.arriveBarrier
    w.call(call, w.get(address), w.get(amount), e.thread(), w.i32.const(checks.site(e.instruction)))
  } else if (isInit) {
    const count = (shift: number): I64 => w.i64.shl(w.i64.extend_i32_u(w.get(amount)), w.i64.const(shift))
    w.i64.store(w.get(address), w.i64.or(count(pendingShift), count(expectedShift)))
  } else {
    const one = w.i32.const.bind(w.i32, 1)
    const zero = w.i32.const.bind(w.i32, 0)
    const count = () => (isExpecting ? one() : w.get(amount))
    const bytes = () => (isExpecting ? w.get(amount) : zero())
    w.call(arrival(e.m), w.get(address), count(), bytes())
  }
  w.release(address, amount)
}

/** Announces bytes, takes arrivals off, and completes the phase when nothing is missing any more. */
function arrival(m: ModuleBuilder): FunctionRef<readonly ['i32', 'i32', 'i32'], readonly []> {
  return m.routine('mbarrier.arrive', ['i32', 'i32', 'i32'], [], (w) => {
    const [address, count, bytes] = w.args
    const announced = w.i64.add(
      w.i64.load(w.get(address)),
      w.i64.shl(w.i64.extend_i32_s(w.get(bytes)), w.i64.const(bytesShift)),
    )
    const state = w.let(
      w.i64.sub(announced, w.i64.shl(w.i64.extend_i32_u(w.get(count)), w.i64.const(pendingShift))),
    )
    const countMask = 0xfffffn
    const rest = ~(1n | (countMask << BigInt(expectedShift)))
    w.if(w.i64.eqz(w.i64.and(w.get(state), w.i64.const(BigInt.asIntN(64, rest)))), () => {
      const next = w.i64.xor(w.get(state), w.i64.const(1))
      const pending = w.i64.and(
        w.i64.shr_u(w.get(state), w.i64.const(expectedShift - pendingShift)),
        w.i64.const(countMask << BigInt(pendingShift)),
      )
      w.set(state, w.i64.or(next, pending))
    })
    w.i64.store(w.get(address), w.get(state))
  })
}
