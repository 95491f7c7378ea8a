import type { KernelIr, Operand, Register, ValueType } from '../../codegen/ir/op.ts'
import { immediate } from '../../codegen/ir/value.ts'
import { IrBuilder } from './build-ir.ts'

/** Threads of the random kernels, in two warps. */
export const randomThreads = 64
/** 32-bit words of `x`, which is read, and of `out`, which is written at the thread's own slots. */
export const inputWords = 1024
export const slotsPerThread = 16

const location = { file: 'random.ts', line: 1, column: 1 }
const scalars = ['i32', 'u32', 'f32', 'bool'] as const
type Scalar = (typeof scalars)[number]

const integerOps = ['add', 'sub', 'mul', 'min', 'max', 'and', 'or', 'xor', 'mulHi', 'div', 'rem'] as const
const floatOps = ['add', 'sub', 'mul', 'min', 'max'] as const
const constants: Readonly<Record<Scalar, readonly number[]>> = {
  i32: [0, 1, -1, 2, 7, 8, 31, 32, 63, 64, 255, -8, 2 ** 31 - 1, -(2 ** 31)],
  u32: [0, 1, 3, 4, 16, 255, 256, 2 ** 31, 2 ** 32 - 1],
  f32: [0, -0, 1, -1, 0.5, 2, 3, 1024, 1e-3],
  bool: [0, 1],
}

/**
 * A kernel that a tape of numbers chooses: each number decides the next thing to emit, and the kernel ends with the
 * tape, so that a shorter tape is a simpler kernel. Kernels terminate, read `x` and write `out` within bounds, share
 * words between threads on either side of a barrier only, and never divide by 0. What they compute is stored in bits.
 */
export function randomIr(tape: readonly number[]): KernelIr {
  return new Generator(tape).kernel()
}

class Generator {
  readonly #b = new IrBuilder('random', [randomThreads, 1, 1], location)
  readonly #tape: readonly number[]
  #at = 0
  #depth = 0
  #stored = 0
  /** Registers that may be read here. */
  #values: Register[] = []
  #variables: Register[] = []
  /** Registers that are known to be from 0 to 63, variables among them. */
  #small: Register[] = []
  readonly #x: Register
  readonly #out: Register
  readonly #tid: Register
  readonly #shared: Register

  constructor(tape: readonly number[]) {
    this.#tape = tape
    const b = this.#b
    this.#x = b.param('x', 'address')
    this.#out = b.param('out', 'address')
    const n = b.param('n', 'i32')
    b.shared('words', randomThreads * 4)
    this.#tid = b.value('special', 'i32', [], { name: 'tid.x' })
    this.#shared = b.value('sharedAddress', 'u32', [], { variable: 0 })
    const lane = b.value('special', 'i32', [], { name: 'laneid' })
    this.#small = [this.#tid, lane]
    this.#values = [n, this.#tid, lane, ...scalars.map((type) => this.#load(type, this.#tid))]
    this.#variables = scalars.map((type) => {
      const variable = b.register(type)
      b.move(variable, this.#constant(type))
      return variable
    })
  }

  kernel(): KernelIr {
    while (this.#at < this.#tape.length) this.#statement()
    for (const variable of this.#variables) this.#store(variable)
    return this.#b.finish()
  }

  #next(below: number): number {
    return (this.#tape[this.#at++] ?? 0) % below
  }
  #pick<T>(list: readonly T[]): T {
    return list[this.#next(list.length)]!
  }
  #constant(type: Scalar): Operand {
    return immediate(type, this.#pick(constants[type]))
  }
  #operand(type: Scalar): Operand {
    const all = [...this.#values, ...this.#variables].filter((value) => value.type === type)
    return all.length === 0 || this.#next(4) === 0 ? this.#constant(type) : this.#pick(all)
  }

  #statement(): void {
    const choice = this.#next(20)
    if (choice < 8) this.#compute()
    else if (choice < 11) this.#assign()
    else if (choice < 13) this.#store(this.#operand(this.#pick(scalars)))
    else if (choice < 14) this.#values.push(this.#load(this.#pick(scalars), this.#operand('i32')))
    else if (choice < 15) this.#values.push(this.#loadAtSum())
    else if (choice < 17 && this.#depth < 3) this.#if()
    else if (choice < 19 && this.#depth < 2) this.#loop()
    else if (choice === 19 && this.#depth === 0) this.#exchange()
  }

  #compute(): void {
    const type = this.#pick(scalars)
    const value = (op: string, result: ValueType, args: Operand[], attributes = {}) =>
      this.#values.push(this.#b.value(op, result, args, attributes))
    const [a, b] = [this.#operand(type), this.#operand(type)]
    switch (this.#next(7)) {
      case 0:
        if (type === 'bool') value('not', 'bool', [a])
        else value('compare', 'bool', [a, b], { relation: this.#pick(['eq', 'ne', 'lt', 'le', 'gt', 'ge']) })
        break
      case 1:
        value('select', type, [this.#operand('bool'), a, b])
        break
      case 2:
        this.#convert(a)
        break
      case 3:
        if (type !== 'i32' && type !== 'u32') value('neg', 'f32', [this.#operand('f32')])
        else {
          const count = immediate('u32', this.#next(33))
          if (this.#next(2)) value('shl', type, [a, count])
          else value('shr', type, [a, count], { arithmetic: this.#next(2) === 0 })
        }
        break
      default:
        if (type === 'bool') value(this.#pick(['and', 'or', 'xor']), 'bool', [a, b])
        else if (type === 'f32') value(this.#pick(floatOps), 'f32', [a, b])
        else {
          const op = this.#pick(integerOps)
          const divides = op === 'div' || op === 'rem'
          value(op, type, [a, divides ? immediate(type, 1 + this.#next(40)) : b])
        }
    }
  }

  /** Conversions whose results every device agrees on. */
  #convert(a: Operand): void {
    const to = this.#pick(scalars)
    if (a.type === to || to === 'bool') return
    if (a.type === 'bool' || a.type !== 'f32') {
      this.#values.push(this.#b.value('convert', to, [a], to === 'f32' ? { rounding: 'rn' } : {}))
    } else
      this.#values.push(
        this.#b.value('convert', to, [a], { rounding: this.#pick(['rni', 'rzi', 'rmi', 'rpi']) }),
      )
  }

  #assign(): void {
    const variable = this.#pick(this.#variables)
    const snapshot = this.#b.value('move', variable.type, [variable])
    this.#values.push(snapshot)
    this.#b.move(variable, this.#operand(variable.type as Scalar))
  }

  /** A word of `x` at an index that is brought into its bounds, with a constant added first. */
  #load(type: Scalar, index: Operand): Register {
    const b = this.#b
    const low = b.value('and', 'i32', [index, immediate('i32', inputWords / 2 - 1)])
    const moved = b.value('add', 'i32', [low, immediate('i32', this.#next(inputWords / 2))])
    const address = b.value('add', 'address', [
      b.value('mulWide', 'address', [moved, immediate('i32', 4)]),
      this.#x,
    ])
    if (type !== 'bool') return b.value('load', type, [address], { space: 'global' })
    const word = b.value('load', 'u32', [address], { space: 'global' })
    return b.value('compare', 'bool', [word, immediate('u32', 2 ** 31)], { relation: 'lt' })
  }

  /** A word of `x` at a sum of multiples, within its bounds. */
  #loadAtSum(): Register {
    const b = this.#b
    const term = (): Register => {
      const factor = immediate('i32', this.#next(8))
      return b.value('mul', 'i32', [this.#pick(this.#small), factor])
    }
    const sum = b.value('add', 'i32', [
      term(),
      b.value('add', 'i32', [term(), immediate('i32', this.#next(100))]),
    ])
    const address = b.value('madWide', 'address', [sum, immediate('i32', 4), this.#x])
    return b.value('load', 'i32', [address], { space: 'global' })
  }

  #store(value: Operand): void {
    const b = this.#b
    const slot = b.value('mad', 'i32', [
      this.#tid,
      immediate('i32', slotsPerThread),
      immediate('i32', this.#stored++ % slotsPerThread),
    ])
    const address = b.value('madWide', 'address', [slot, immediate('i32', 4), this.#out])
    const word = value.type === 'bool' ? b.value('convert', 'i32', [value]) : value
    b.emit('store', [], [address, word], { space: 'global' })
  }

  /** Runs `emit`; what it computes cannot be read behind it. */
  #nested(emit: () => void): void {
    const [before, small] = [this.#values, this.#small]
    this.#values = [...before]
    this.#small = [...small]
    this.#depth++
    emit()
    this.#depth--
    this.#values = before
    this.#small = small
  }

  #statements(): void {
    for (let i = this.#next(5); i > 0; i--) this.#statement()
  }

  #if(): void {
    const otherwise = this.#next(2) === 0
    this.#b.if(
      this.#operand('bool'),
      () => this.#nested(() => this.#statements()),
      () => otherwise && this.#nested(() => this.#statements()),
    )
  }

  /** A counting loop with at most 6 iterations, and perhaps a break or a continue in it. */
  #loop(): void {
    const b = this.#b
    const i = b.register('i32')
    const limit = immediate('i32', this.#next(7))
    b.move(i, immediate('i32', 0))
    b.loop(
      () =>
        this.#nested(() => {
          const done = b.value('compare', 'bool', [i, limit], { relation: 'ge' })
          b.if(done, () => b.jump('break'))
          this.#values.push(b.value('move', 'i32', [i]))
          this.#small.push(i)
          this.#statements()
          const jump = this.#pick(['break', 'continue', undefined, undefined] as const)
          if (jump) b.if(this.#operand('bool'), () => b.jump(jump))
          this.#statements()
        }),
      () => b.move(i, b.value('add', 'i32', [i, immediate('i32', 1)])),
    )
  }

  /** A word from another thread, through shared memory. */
  #exchange(): void {
    const b = this.#b
    const place = (index: Operand): Register => {
      const bytes = b.value('convert', 'u32', [b.value('shl', 'i32', [index, immediate('u32', 2)])])
      return b.value('add', 'u32', [this.#shared, bytes])
    }
    b.emit('store', [], [place(this.#tid), this.#operand('u32')], { space: 'shared' })
    b.emit('barrier', [], [])
    const other = b.value('xor', 'i32', [this.#tid, immediate('i32', this.#next(randomThreads))])
    this.#values.push(b.value('load', 'u32', [place(other)], { space: 'shared' }))
    b.emit('barrier', [], [])
  }
}
