import type { AddressOperand, Operand } from '../../ptx/module.ts'
import type { Local } from '../../wasm/function.ts'
import type { I32, Value } from '../../wasm/operations.ts'
import { registerBits, scalarTypes } from '../types.ts'
import { bulkCopy } from './copies.ts'
import type { Emitter } from './emitter.ts'

/** An address to be pushed as often as needed, with the constant that the memory instruction adds. */
export interface Place {
  push(): I32
  readonly offset: number
  release(): void
}

type AccessKind = 'load' | 'store' | 'atomic'
type Space = 'global' | 'shared' | 'generic'

function spaceOf(e: Emitter): Space {
  const { space } = e.instruction.modifiers
  if (space === undefined) return 'generic'
  return space === 'global' ? 'global' : 'shared'
}

/** The address operand as an i32, without its offset. All spaces lie in one linear memory. */
export function pushBase(e: Emitter, { base }: AddressOperand): I32 {
  const { w } = e
  if (base.kind === 'integer') return w.i32.const(Number(BigInt.asIntN(32, base.value)))
  if (base.kind === 'symbol') return e.symbolAddress(base.name, 0)
  return base.register.type === 'b64' ? w.i32.wrap_i64(e.i64(base)) : e.i32(base)
}

/** Evaluates an address operand once, after telling the checker of an access of `bytes`. */
export function place(e: Emitter, operand: Operand, kind: AccessKind, bytes: number, uses = 1): Place {
  const { w } = e
  if (operand.kind !== 'address') e.fail('an address is expected')
  const { checks } = e.context
  if (checks) {
    if (spaceOf(e) !== 'shared' && operand.base.kind === 'register' && operand.base.register.type === 'b64')
      return checkedWide(e, operand, kind, bytes)
    const address = w.let(w.i32.add(pushBase(e, operand), w.i32.const(operand.offset)))
    checkShared(e, address, kind, bytes)
    return { push: () => w.get(address), offset: 0, release: () => w.release(address) }
  }
  // The instruction's own offset is unsigned and does not wrap, so a negative one needs an addition.
  const base = (): I32 =>
    operand.offset < 0 ? w.i32.add(pushBase(e, operand), w.i32.const(operand.offset)) : pushBase(e, operand)
  const offset = Math.max(operand.offset, 0)
  if (uses === 1) return { push: base, offset, release: () => {} }
  const address = w.let(base())
  return { push: () => w.get(address), offset, release: () => w.release(address) }
}

function checkShared(e: Emitter, address: Local<'i32'>, kind: AccessKind, bytes: number): void {
  const { w, context } = e
  const checks = context.checks!
  const call = { load: checks.loadShared, store: checks.storeShared, atomic: checks.atomicShared }[kind]
  w.call(
    call,
    w.i32.sub(w.get(address), w.get(context.shared)),
    w.i32.const(bytes),
    e.thread(),
    w.i32.const(checks.site(e.instruction)),
  )
}

/** A 64-bit address goes to the checker as an f64, so that a wild one is seen before it wraps. */
function checkedWide(e: Emitter, operand: AddressOperand, kind: AccessKind, bytes: number): Place {
  const { w, context } = e
  const checks = context.checks!
  const wide = w.let(w.i64.add(e.i64(operand.base as Operand), w.i64.const(operand.offset)))
  const address = w.let(w.i32.wrap_i64(w.get(wide)))
  const global = (): void => {
    const call = { load: checks.loadGlobal, store: checks.storeGlobal, atomic: checks.atomicGlobal }[kind]
    w.call(
      call,
      w.f64.convert_i64_u(w.get(wide)),
      w.i32.const(bytes),
      e.thread(),
      w.i32.const(checks.site(e.instruction)),
    )
  }
  if (spaceOf(e) === 'global') global()
  else {
    const shared = w.i64.extend_i32_u(w.get(context.shared))
    const inWindow = w.i64.lt_u(w.i64.sub(w.get(wide), shared), w.i64.const(context.sharedBytes))
    w.if(inWindow, () => checkShared(e, address, kind, bytes), global)
  }
  w.release(wide)
  return { push: () => w.get(address), offset: 0, release: () => w.release(address) }
}

/** The registers of a vector, or the one that stands alone. */
export const elementsOf = (operand: Operand): readonly Operand[] =>
  operand.kind === 'vector' ? operand.elements : [operand]

const isOrdered = (e: Emitter): boolean => {
  const { order } = e.instruction.modifiers
  return order !== undefined && order !== 'weak'
}

export function load(e: Emitter, [d, a]: readonly (Operand | undefined)[]): void {
  const type = e.modifier('type')
  const bytes = scalarTypes[type]!.bits / 8
  if (e.instruction.modifiers.space === 'param') {
    loadParameter(e, d!, a!, type)
    return
  }
  const elements = elementsOf(d!)
  expectVector(e, elements)
  const from = place(e, a!, isOrdered(e) ? 'atomic' : 'load', bytes * elements.length, elements.length)
  elements.forEach((element, index) => {
    if (element.kind !== 'sink') loadElement(e, element, type, from.push(), from.offset + index * bytes)
  })
  from.release()
}

function expectVector(e: Emitter, elements: readonly Operand[]): void {
  const { vec } = e.instruction.modifiers
  const count = vec === undefined ? 1 : Number(vec[1])
  if (elements.length !== count) e.fail(`${count} elements are expected`)
}

function loadElement(e: Emitter, d: Operand, type: string, address: I32, offset: number): void {
  const { w } = e
  if (d.kind !== 'register') e.fail('a register is expected')
  const { bits, kind } = scalarTypes[type]!
  const signed = kind === 'signed'
  if (bits === 8)
    e.setInteger(d, type, signed ? w.i32.load8_s(address, offset) : w.i32.load8_u(address, offset))
  else if (bits === 16)
    e.setInteger(d, type, signed ? w.i32.load16_s(address, offset) : w.i32.load16_u(address, offset))
  else if (bits === 32) {
    if (d.register.type === 'f32') e.set(d, w.f32.load(address, offset))
    else e.setInteger(d, type === 'f32' ? 'b32' : type, w.i32.load(address, offset))
  } else if (type === 'f64') e.set(d, w.f64.load(address, offset))
  else e.set(d, w.i64.load(address, offset))
}

function loadParameter(e: Emitter, d: Operand, a: Operand, type: string): void {
  const { w, context } = e
  if (a.kind !== 'address' || a.base.kind !== 'symbol') {
    e.fail('a parameter is expected')
    return
  }
  const { name } = a.base
  const param = context.kernel.params.find((candidate) => candidate.name === name)
  if (!param) e.fail(`there is no parameter ${name}`)
  const bytes = scalarTypes[type]!.bits / 8
  const elements = elementsOf(d)
  expectVector(e, elements)
  if (a.offset < 0 || a.offset + bytes * elements.length > param.bytes)
    e.fail(`${name} has ${param.bytes} bytes`)
  for (const [index, element] of elements.entries())
    loadElement(e, element, type, w.get(context.params), param.offset + a.offset + index * bytes)
}

export function store(e: Emitter, [a, b]: readonly (Operand | undefined)[]): void {
  const type = e.modifier('type')
  const bytes = scalarTypes[type]!.bits / 8
  const elements = elementsOf(b!)
  expectVector(e, elements)
  const to = place(e, a!, isOrdered(e) ? 'atomic' : 'store', bytes * elements.length, elements.length)
  for (const [index, element] of elements.entries()) storeElement(e, type, to, index * bytes, element)
  to.release()
}

function storeElement(e: Emitter, type: string, to: Place, offset: number, value: Operand): void {
  const { w } = e
  const { bits } = scalarTypes[type]!
  const at = to.offset + offset
  const address = to.push()
  if (bits === 64) {
    type === 'f64' ? w.f64.store(address, e.f64(value), at) : w.i64.store(address, e.i64(value), at)
    return
  }
  if (bits === 32 && value.kind === 'register' && value.register.type === 'f32') {
    w.f32.store(address, e.f32(value), at)
    return
  }
  const word =
    value.kind === 'register' && registerBits[value.register.type] === 64
      ? w.i32.wrap_i64(e.i64(value))
      : e.i32(value)
  if (bits === 8) w.i32.store8(address, word, at)
  else if (bits === 16) w.i32.store16(address, word, at)
  else w.i32.store(address, word, at)
}

const rmwOperations: Readonly<Record<string, string>> = {
  add: 'atomic_rmw_add',
  and: 'atomic_rmw_and',
  or: 'atomic_rmw_or',
  xor: 'atomic_rmw_xor',
  exch: 'atomic_rmw_xchg',
}

/** red of a vector: each element on its own. */
function reduceVector(e: Emitter, [a, b]: readonly (Operand | undefined)[]): void {
  const { w } = e
  const elements = elementsOf(b!)
  expectVector(e, elements)
  const at = place(e, a!, 'atomic', 4 * elements.length, elements.length)
  for (const [i, element] of elements.entries()) {
    const address = w.i32.add(at.push(), w.i32.const(at.offset + 4 * i))
    w.drop(w.call(compareAndSwapLoop(e, 'add', 'f32'), address, e.i32(element)))
  }
  at.release()
}

/** atom and red. */
export function atomic(e: Emitter, operands: readonly (Operand | undefined)[]): void {
  if (e.instruction.modifiers.vec !== undefined) {
    reduceVector(e, operands)
    return
  }
  const { w } = e
  const [d, a, b, c] = e.instruction.op === 'red' ? [undefined, ...operands] : operands
  const type = e.modifier('type')
  const action = e.modifier('action')
  const { bits } = scalarTypes[type]!
  const at = place(e, a!, 'atomic', bits / 8)
  const finish = (old: Value<'i32' | 'i64' | 'f32'>): void => {
    if (d) e.set(d, old)
    else w.drop(old)
  }
  const wide = bits === 64
  const value = (operand: Operand): Value<'i32' | 'i64'> => (wide ? e.i64(operand) : e.i32(operand))
  if (action === 'cas')
    finish(
      wide
        ? w.i64.atomic_rmw_cmpxchg(at.push(), e.i64(b!), e.i64(c!), at.offset)
        : w.i32.atomic_rmw_cmpxchg(at.push(), e.i32(b!), e.i32(c!), at.offset),
    )
  else if (rmwOperations[action] && type !== 'f32') {
    const ns = (wide ? w.i64 : w.i32) as unknown as Record<
      string,
      (address: I32, operand: Value<'i32' | 'i64'>, offset: number) => Value<'i32' | 'i64'>
    >
    finish(ns[rmwOperations[action]!]!(at.push(), value(b!), at.offset))
  } else {
    const address = w.i32.add(at.push(), w.i32.const(at.offset))
    if (wide) finish(w.call(compareAndSwapLoop64(e, action, type), address, e.i64(b!)))
    else finish(w.call(compareAndSwapLoop(e, action, type), address, e.i32(b!)))
  }
  at.release()
}

/** `old = *address; *address = f(old, operand)` for what WebAssembly has no instruction for. */
function compareAndSwapLoop(e: Emitter, action: string, type: string) {
  return e.m.routine(`atom.${action}.${type}`, ['i32', 'i32'], ['i32'], (w) => {
    const [address, operand] = w.args
    const old = w.local('i32')
    const compute = (): I32 => {
      if (type === 'f32') {
        if (action !== 'add') e.fail(`the emulator has no atomic ${action} of f32`)
        return w.i32.reinterpret_f32(
          w.f32.add(w.f32.reinterpret_i32(w.get(old)), w.f32.reinterpret_i32(w.get(operand))),
        )
      }
      const signed = type === 's32'
      const smaller = signed ? w.i32.lt_s : w.i32.lt_u
      const larger = signed ? w.i32.gt_s : w.i32.gt_u
      const keep = action === 'min' ? smaller : larger
      const a = w.get(old)
      const b = w.get(operand)
      return w.select(a, b, keep.call(w.i32, w.get(old), w.get(operand)) as I32)
    }
    w.loop((again) => {
      w.set(old, w.i32.load(w.get(address)))
      const seen = w.i32.atomic_rmw_cmpxchg(w.get(address), w.get(old), compute())
      w.brIf(again, w.i32.ne(seen, w.get(old)))
    })
    w.get(old)
  })
}

function compareAndSwapLoop64(e: Emitter, action: string, type: string) {
  return e.m.routine(`atom.${action}.${type}`, ['i32', 'i64'], ['i64'], (w) => {
    const [address, operand] = w.args
    const old = w.local('i64')
    const signed = type === 's64'
    const smaller = signed ? w.i64.lt_s : w.i64.lt_u
    const larger = signed ? w.i64.gt_s : w.i64.gt_u
    const keep = action === 'min' ? smaller : larger
    w.loop((again) => {
      w.set(old, w.i64.load(w.get(address)))
      const a = w.get(address)
      const expected = w.get(old)
      const first = w.get(old)
      const second = w.get(operand)
      const next = w.select(first, second, keep.call(w.i64, w.get(old), w.get(operand)) as I32)
      const seen = w.i64.atomic_rmw_cmpxchg(a, expected, next)
      w.brIf(again, w.i64.ne(seen, w.get(old)))
    })
    w.get(old)
  })
}

/** cp.async and its groups. The copy happens at once; that it is waited for is the checker's business. */
export function asyncCopy(e: Emitter, operands: readonly (Operand | undefined)[]): void {
  const { w, context } = e
  const { modifiers } = e.instruction
  const { checks } = context
  if (modifiers.bulk) {
    bulkCopy(e, operands)
    return
  }
  if (modifiers.commit_group) {
    if (checks) w.call(checks.commitGroup, e.thread())
    return
  }
  if (modifiers.wait_all) {
    if (!checks) return
    w.call(checks.commitGroup, e.thread())
    w.call(checks.waitGroup, e.thread(), w.i32.const(0))
    return
  }
  if (modifiers.wait_group) {
    const pending = operands[0]!
    if (pending.kind !== 'integer') e.fail('the number of groups must be a constant')
    if (checks) w.call(checks.waitGroup, e.thread(), w.i32.const(Number(pending.value)))
    return
  }
  const [to, from, size, given] = operands
  if (to?.kind !== 'address' || from?.kind !== 'address') {
    e.fail('two addresses are expected')
    return
  }
  if (size?.kind !== 'integer') {
    e.fail('the size must be a constant')
    return
  }
  const bytes = Number(size.value)
  const isAllowed = modifiers.cache === 'cg' ? bytes === 16 : [4, 8, 16].includes(bytes)
  if (!isAllowed) e.fail(`cp.async.${modifiers.cache} cannot copy ${bytes} bytes`)
  const target = w.let(w.i32.add(pushBase(e, to), w.i32.const(to.offset)))
  const source = w.let(w.i32.add(pushBase(e, from), w.i32.const(from.offset)))
  const sourceBytes = given && given.kind !== 'integer' ? w.let(e.i32(given)) : undefined
  const constantBytes = given?.kind === 'integer' ? Number(given.value) : bytes
  const pushBytes = (): I32 => (sourceBytes ? w.get(sourceBytes) : w.i32.const(constantBytes))
  if (checks)
    w.call(
      checks.asyncCopy,
      w.i32.sub(w.get(target), w.get(context.shared)),
      w.f64.convert_i64_u(w.i64.add(e.i64(from.base as Operand), w.i64.const(from.offset))),
      w.i32.const(bytes),
      pushBytes(),
      e.thread(),
      w.i32.const(checks.site(e.instruction)),
    )
  const copyAll = (): void => {
    if (bytes === 16) w.v128.store(w.get(target), w.v128.load(w.get(source)))
    else if (bytes === 8) w.i64.store(w.get(target), w.i64.load(w.get(source)))
    else w.i32.store(w.get(target), w.i32.load(w.get(source)))
  }
  const zeroAll = (): void => {
    if (bytes === 16) w.v128.store(w.get(target), w.i64x2.splat(w.i64.const(0)))
    else if (bytes === 8) w.i64.store(w.get(target), w.i64.const(0))
    else w.i32.store(w.get(target), w.i32.const(0))
  }
  const copyPart = (): void => {
    zeroAll()
    // Of no bytes the address may be anything, and memory.copy would look at it.
    w.if(pushBytes(), () => w.memoryCopy(w.get(target), w.get(source), pushBytes()))
  }
  if (sourceBytes) w.if(w.i32.eq(w.get(sourceBytes), w.i32.const(bytes)), copyAll, copyPart)
  else if (constantBytes === bytes) copyAll()
  else copyPart()
  if (sourceBytes) w.release(sourceBytes)
  w.release(target, source)
}

/** fence and membar: the emulator's memory is in order; the checker learns of those that reach other CTAs. */
export function fence(e: Emitter): void {
  const { scope, level, proxy, mbarrier_init: barrierInit } = e.instruction.modifiers
  const { checks } = e.context
  if (!checks) return
  if (proxy) e.w.call(checks.fenceProxy, e.thread())
  else if (barrierInit) e.w.call(checks.fenceBarrierInit, e.thread())
  else if ((scope ?? level) !== 'cta') e.w.call(checks.fenceGlobal, e.thread())
}

/** griddepcontrol: launches run one after the other, so that only the checker minds. */
export function dependencies(e: Emitter): void {
  const { checks } = e.context
  if (!checks) return
  const isWait = e.instruction.modifiers.action === 'wait'
  e.w.call(isWait ? checks.waitForPrevious : checks.launchDependents, e.thread())
}
