import type { Instruction, Operand } from '../ptx/module.ts'
import type { Local } from '../wasm/function.ts'
import type { I32 } from '../wasm/operations.ts'
import type { Emitter } from './emit/emitter.ts'
import type { WarpWriter } from './warp.ts'

/**
 * Writes `mbarrier.try_wait`: suspends the warp while the phase of any active lane's mbarrier is not complete, and tests
 * again when the warp goes on. The result is true for all active lanes.
 */
export function writeWait(warp: WarpWriter, id: number, instruction: Instruction): void {
  const { w, analysis, context } = warp
  const { checks, uniform, placement } = analysis
  const [d, a, parityOperand] = instruction.operands as [Operand, Operand, Operand]
  const e: Emitter = warp.uniformEmitter()
  e.instruction = instruction
  if (a.kind !== 'address') e.fail('an address is expected')
  const base = a.base as Operand
  const isApart = (operand: Operand): boolean =>
    operand.kind === 'register' && !uniform.has(operand.register.id)
  const isLoop = isApart(base) || isApart(parityOperand)

  const lane = w.let(w.i32.ctz(w.get(warp.active)))
  const value = (operand: Operand): I32 => {
    if (operand.kind !== 'register' || !isApart(operand)) return e.i32(operand)
    if (operand.register.type !== 'b32') return e.fail('a 32-bit register is expected')
    const slot = w.i32.add(w.get(context.state), w.i32.shl(w.get(lane), w.i32.const(2)))
    return w.i32.load(slot, placement.lanes.get(operand.register.id)!)
  }
  const address = w.local('i32')
  const parity = w.local('i32')
  const writeTest = (): void => {
    w.set(address, w.i32.add(value(base), w.i32.const(a.offset)))
    w.set(parity, w.i32.and(value(parityOperand), w.i32.const(1)))
    const thread = (): I32 => w.i32.add(w.get(context.firstThread), w.get(lane))
    const isWaiting = checks
      ? w.call(
          checks.waitPhase,
          w.get(address),
          w.get(parity),
          thread(),
          w.i32.const(checks.site(instruction)),
        )
      : w.i32.eq(w.i32.and(w.i32.load(w.get(address)), w.i32.const(1)), w.get(parity))
    w.if(isWaiting, () => warp.writePhaseWait(id, instruction, address, parity))
  }
  if (isLoop) {
    const remaining = w.let(w.get(warp.active))
    const next = w.beginLoop()
    w.set(lane, w.i32.ctz(w.get(remaining)))
    writeTest()
    w.set(remaining, w.i32.and(w.get(remaining), w.i32.sub(w.get(remaining), w.i32.const(1))))
    w.brIf(next, w.get(remaining))
    w.end()
    w.release(remaining)
  } else writeTest()
  w.release(lane, address, parity)
  warp.writeCount(id, false)
  if (d.kind === 'register') writeTruth(warp, d)
}

/** Sets a predicate for the active lanes. */
function writeTruth(warp: WarpWriter, d: Operand & { kind: 'register' }): void {
  const { w, analysis } = warp
  if (analysis.uniform.has(d.register.id)) {
    w.set(warp.uniformLocal(d.register) as Local<'i32'>, w.i32.const(1))
    return
  }
  const lane = w.local('i32')
  const remaining = w.let(w.get(warp.active))
  const next = w.beginLoop()
  w.set(lane, w.i32.shl(w.i32.ctz(w.get(remaining)), w.i32.const(2)))
  w.i32.store(w.i32.add(warp.slot(d.register), w.get(lane)), w.i32.const(1))
  w.set(remaining, w.i32.and(w.get(remaining), w.i32.sub(w.get(remaining), w.i32.const(1))))
  w.brIf(next, w.get(remaining))
  w.end()
  w.release(lane, remaining)
}
