import type { Block, Operand } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import type { Expression } from '../syntax.ts'
import { coerce } from './convert.ts'
import type { Region } from './emitter.ts'
import type { Evaluator } from './evaluator.ts'
import type { Cell, Reads } from './scope.ts'
import type { ScalarType, Value } from './values.ts'
import { DeviceValue, DirectValue, describe, isPlainObject, registerType, Variable } from './values.ts'

/**
 * Variables, array elements and object fields.
 *
 * A cell that is only assigned where it was made is no register: assigning it rebinds the name. The first assignment
 * under deeper run-time control *promotes* the cell: it gets a register, initialised where the cell was made.
 *
 *     let m: f32 = f32.lowest          //            m := lowest
 *     for (const i of range(n)) {      // loop
 *       const old = m                  //   old := m        read before the loop is known to assign m
 *       m = Math.max(old, x.at(i))     //   m := max(…)     promotes, and redirects the read above
 *     }
 *
 * So reads of a cell from inside a run-time loop are copies, which the promotion redirects; a copy that nothing
 * redirects disappears in the passes. Making every mutable name a register from the start would be simpler, but it
 * would hide the values of unrolled code from the passes.
 */

/** Elements and fields of containers that the kernel made, with the region that they were made in. */
interface Container {
  readonly region: Region
  /** By key as a string, as an index may be a number or a string. */
  reads: Map<string, Reads> | undefined
}
const containers = new WeakMap<object, Container>()

/** Records that a new array or object belongs to the current region, so that its elements may be assigned. */
export function track<T extends object>(ev: Evaluator, container: T): T {
  containers.set(container, { region: ev.emitter.region, reads: undefined })
  return container
}

/** Whether the kernel made a container, so that it may change it. */
export const isTracked = (container: object): boolean => containers.has(container)

export const regionOf = (container: object): Region | undefined => containers.get(container)?.region

class ElementCell implements Cell {
  readonly mutable = true
  readonly declared = undefined
  readonly #container: Record<string | number, Value>
  readonly #key: string | number
  readonly #info: Container
  readonly #label: string | undefined

  constructor(container: object, key: string | number, info: Container, label?: string) {
    this.#container = container as Record<string | number, Value>
    this.#key = key
    this.#info = info
    this.#label = label
  }
  get name(): string {
    return this.#label ?? String(this.#key)
  }
  get region(): Region {
    return this.#info.region
  }
  get slot(): Value {
    return this.#container[this.#key]
  }
  set slot(value: Value) {
    this.#container[this.#key] = value
  }
  get reads(): Reads | undefined {
    return this.#info.reads?.get(String(this.#key))
  }
  set reads(reads: Reads | undefined) {
    if (reads) {
      this.#info.reads ??= new Map()
      this.#info.reads.set(String(this.#key), reads)
    } else this.#info.reads?.delete(String(this.#key))
  }
}

/** The cell of an element or field; undefined for containers that the kernel did not make. */
export function elementCell(container: object, key: string | number, label?: string): Cell | undefined {
  const info = containers.get(container)
  return info && new ElementCell(container, key, info, label)
}

/** An element of an array or a field of an object, as a value that later assignments do not change. */
export function readElement(ev: Evaluator, container: object, key: string | number): Value {
  const slot = (container as Record<string | number, Value>)[key]
  if (!(slot instanceof DeviceValue || slot instanceof Variable)) return slot
  const info = containers.get(container)
  return info ? readCell(ev, new ElementCell(container, key, info)) : slot
}

/** All elements of an array, read. */
export const readElements = (ev: Evaluator, array: readonly Value[]): Value[] =>
  array.map((_, i) => readElement(ev, array, i))

/** The value of a cell, which later assignments do not change. */
export function readCell(ev: Evaluator, cell: Cell): Value {
  const { slot } = cell
  if (slot instanceof Variable) {
    return new DeviceValue(slot.type, ev.emitter.value('move', registerType(slot.type), [slot.register]))
  }
  if (!(slot instanceof DeviceValue) || !cell.mutable) return slot
  return readInLoop(ev, cell, slot)
}

/** The value of a cell for use at once: a variable's own register, not a copy. */
export function readDirect(ev: Evaluator, cell: Cell): Value {
  const { slot } = cell
  if (slot instanceof Variable) return new DirectValue(slot.type, slot.register)
  if (!(slot instanceof DeviceValue) || !cell.mutable) return slot
  return readInLoop(ev, cell, slot)
}

function readInLoop(ev: Evaluator, cell: Cell, slot: DeviceValue): DeviceValue {
  if (ev.emitter.region.loops <= cell.region.loops) return slot
  const loop = ev.emitter.outermostLoop(cell.region)
  if (!loop) return slot
  if (cell.reads?.loop !== loop) cell.reads = { loop, moves: [] }
  const copy = ev.emitter.register(registerType(slot.type))
  cell.reads.moves.push(ev.emitter.emit('move', [copy], [slot.operand]))
  return new DeviceValue(slot.type, copy)
}

/** Assigns a cell; `node` is blamed if that is impossible. */
export function assignCell(ev: Evaluator, cell: Cell, value: Value, node: Expression): void {
  const { slot } = cell
  const here = ev.emitter.region
  if (here === cell.region) {
    const type = typeOf(slot) ?? cell.declared
    cell.slot = type === undefined ? value : coerce(ev, value, type, node)
    cell.reads = undefined
    return
  }
  if (slot instanceof Variable) {
    ev.emitter.write(slot.register, coerce(ev, value, slot.type, node).operand)
    return
  }
  if (assignInside(ev, slot, value, node)) return
  const { register, type } = promote(ev, cell, value, node)
  ev.emitter.write(register, coerce(ev, value, type, node).operand)
}

/** Gives a cell a register that is initialised with its value; for `mma`, which updates registers in place. */
export function variableOf(ev: Evaluator, cell: Cell, node: Expression): Variable {
  return cell.slot instanceof Variable ? cell.slot : promote(ev, cell, undefined, node)
}

const typeOf = (slot: Value): ScalarType | undefined =>
  slot instanceof DeviceValue || slot instanceof Variable ? slot.type : undefined

function promote(ev: Evaluator, cell: Cell, value: Value, node: Expression): Variable {
  const { slot } = cell
  const type = typeOf(slot) ?? cell.declared
  if (type === undefined) throw staticMutation(ev, cell, value, node)
  const initial: Operand =
    slot instanceof DeviceValue
      ? slot.operand
      : typeof slot === 'number' || typeof slot === 'boolean'
        ? coerce(ev, slot, type, node).operand
        : immediate(registerType(type), 0)
  const register = ev.emitter.register(registerType(type))
  const { location } = ev.emitter
  const { block } = cell.region
  block.splice(beforeFence(block, initial), 0, {
    kind: 'instruction',
    op: 'move',
    results: [register],
    args: [initial],
    attributes: {},
    location,
  })
  ev.emitter.count++
  if (cell.reads && cell.reads.loop === ev.emitter.outermostLoop(cell.region)) {
    for (const move of cell.reads.moves) (move as { args: readonly Operand[] }).args = [register]
  }
  cell.reads = undefined
  const variable = new Variable(type, register)
  cell.slot = variable
  return variable
}

/**
 * Where a register is initialised: at the end of the block, but before a `wgmmaFence` there that orders what the author
 * wrote before it.
 */
function beforeFence(block: Block, initial: Operand): number {
  for (let i = block.length - 1; i >= 0; i--) {
    const node = block[i]!
    if (node.kind !== 'instruction') break
    if (node.op === 'wgmmaFence') return i
    if (initial.kind === 'register' && node.results.some(({ id }) => id === initial.id)) break
  }
  return block.length
}

/**
 * Under run-time control a container is not replaced but filled: `s.o = s.o.map(f)` assigns the elements of `s.o`.
 * False if the two are not containers of the same shape.
 */
function assignInside(ev: Evaluator, target: Value, value: Value, node: Expression): boolean {
  // Another container of the same age would have to change places with this one, not fill it.
  if (typeof value === 'object' && value !== null && regionOf(value) !== ev.emitter.region) return false
  if (Array.isArray(target) && Array.isArray(value)) {
    if (target.length !== value.length || !isTracked(target)) return false
  } else if (isPlainObject(target) && isPlainObject(value)) {
    if (Object.keys(target).join() !== Object.keys(value).join() || !isTracked(target)) return false
  } else return false
  for (const key of Object.keys(target)) {
    const cell = elementCell(target, key)!
    const next = readElement(ev, value, key)
    if (cell.slot !== next) assignCell(ev, cell, next, node)
  }
  return true
}

function staticMutation(ev: Evaluator, cell: Cell, value: Value, node: Expression): Error {
  const { slot } = cell
  if (Array.isArray(slot) || isPlainObject(slot)) {
    return ev.error(
      'E0211',
      `'${cell.name}' is ${describe(slot)}, and which one it is cannot depend on a run-time condition`,
      node,
      { help: 'assign a new value of the same shape: x = [...y], or x = y.map(f)' },
    )
  }
  const type =
    value instanceof DeviceValue
      ? value.type
      : typeof slot === 'boolean'
        ? 'bool'
        : Number.isInteger(slot)
          ? 'i32'
          : 'f32'
  const initial = slot === undefined ? '0' : String(slot)
  const help =
    type === 'bool'
      ? `start it from a run-time value: let ${cell.name} = threadIdx.x < 0`
      : /^\d+$/.test(cell.name)
        ? `make the elements registers: regs(n, ${type}(${initial}))`
        : `declare it as a register: let ${cell.name}: ${type} = ${initial}, or write ${type}(${initial}) for a field`
  return ev.error(
    'E0210',
    `'${cell.name}' is ${describe(slot)} known while compiling, but is assigned under run-time control`,
    node,
    { help },
  )
}
