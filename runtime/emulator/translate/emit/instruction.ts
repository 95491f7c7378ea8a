import type { Instruction, Operand } from '../../ptx/module.ts'
import { faults } from '../layout.ts'
import { reads, writes } from '../operands.ts'
import { registerValueType } from '../types.ts'
import { dot4, logic3, permute } from './bytes.ts'
import { convert } from './convert.ts'
import type { Emitter } from './emitter.ts'
import {
  arithmetic,
  copySign,
  fusedMultiplyAdd,
  minOrMaxFloat,
  selectByPredicate,
  setPredicate,
  signOfFloat,
  unary,
} from './float.ts'
import {
  absolute,
  addOrSubtract,
  bitwise,
  countBits,
  divide,
  extractField,
  funnelShift,
  insertField,
  minOrMax,
  multiply,
  negate,
  not,
  shift,
} from './integer.ts'
import { barrier } from './mbarrier.ts'
import { asyncCopy, atomic, dependencies, fence, load, store } from './memory.ts'
import { convertAddress, move } from './move.ts'

// biome-ignore lint/suspicious/noExplicitAny: writers differ in which operands they may find absent
type Writer = (e: Emitter, operands: readonly any[]) => void

/** Chooses by whether the instruction's type is a floating-point one. */
const byType =
  (integer: Writer, float: Writer): Writer =>
  (e, operands) =>
    (e.modifier('type').includes('f') ? float : integer)(e, operands)

const nothing: Writer = () => {}

/** How each operation is written; collectives and control flow are not here. */
const writers: Readonly<Record<string, Writer>> = {
  abs: byType(absolute, signOfFloat),
  add: byType(addOrSubtract, arithmetic),
  and: bitwise,
  atom: atomic,
  bfe: extractField,
  bfi: insertField,
  brev: countBits,
  clz: countBits,
  copysign: copySign,
  cos: unary,
  cp: asyncCopy,
  createpolicy: (e, [d]) => e.set(d, e.w.i64.const(0)),
  cvt: convert,
  cvta: convertAddress,
  div: byType(divide, arithmetic),
  dp4a: dot4,
  ex2: unary,
  fence: fence,
  fma: fusedMultiplyAdd,
  griddepcontrol: dependencies,
  ld: load,
  lg2: unary,
  lop3: logic3,
  mad: multiply,
  mapa: (e, [d, a, b]) => e.set(d, e.peerAddress(a, b)),
  max: byType(minOrMax, minOrMaxFloat),
  mbarrier: barrier,
  membar: fence,
  min: byType(minOrMax, minOrMaxFloat),
  mov: move,
  mul: byType(multiply, arithmetic),
  nanosleep: nothing,
  neg: byType(negate, signOfFloat),
  not: not,
  or: bitwise,
  popc: countBits,
  prefetch: nothing,
  prmt: permute,
  rcp: unary,
  red: atomic,
  rem: divide,
  rsqrt: unary,
  selp: selectByPredicate,
  setp: setPredicate,
  shf: funnelShift,
  shl: shift,
  shr: shift,
  sin: unary,
  sqrt: unary,
  st: store,
  sub: byType(addOrSubtract, arithmetic),
  tanh: unary,
  trap: (e) => {
    e.w.call(e.context.fault, e.w.i32.const(faults.trap), e.w.i32.const(e.instruction.index))
    e.w.unreachable()
  },
  xor: bitwise,
}

/** Operations that `writeInstruction` knows. */
export const writtenOperations: readonly string[] = Object.keys(writers)

/** Tells the checker of an instruction that uses registers of asynchronous products. */
export function noteRegisters(e: Emitter, instruction: Instruction): void {
  const { w } = e
  const { checks } = e.context
  if (!checks || checks.tracked.size === 0) return
  const used = [...reads(instruction), ...writes(instruction)].filter(({ id }) => checks.tracked.has(id))
  if (used.length === 0) return
  const note = (): void => {
    for (const id of new Set(used.map((register) => register.id)))
      w.call(checks.registerAccess, e.thread(), w.i32.const(id), w.i32.const(checks.site(instruction)))
  }
  if (instruction.guard) w.if(e.i32(instruction.guard), note)
  else note()
}

const harmless = new Set(['mov', 'selp', 'add', 'sub', 'and', 'or', 'xor', 'cvta', 'not'])

/** Writes one instruction for the emitter's lane, its guard included. */
export function writeInstruction(e: Emitter, instruction: Instruction): void {
  e.instruction = instruction
  noteRegisters(e, instruction)
  const writer = writers[instruction.op]
  if (!writer) {
    e.fail('the emulator does not execute this instruction')
    return
  }
  const { guard, operands } = instruction
  if (!guard) {
    writer(e, operands)
    return
  }
  const { w } = e
  const [result] = operands
  const isCheap = harmless.has(instruction.op) && result?.kind === 'register'
  if (isCheap) {
    writeSelected(e, instruction, result, writer)
    return
  }
  w.if(e.i32(guard), () => writer(e, operands))
}

/** A cheap guarded instruction without effects becomes a select instead of a branch. */
function writeSelected(
  e: Emitter,
  instruction: Instruction,
  result: Operand & { kind: 'register' },
  writer: Writer,
): void {
  const { w } = e
  const type = registerValueType[result.register.type]
  const before = w.let(e.get(result, type))
  writer(e, instruction.operands)
  e.set(result, w.select(e.get(result, type), w.get(before), e.i32(instruction.guard!)))
  w.release(before)
}
