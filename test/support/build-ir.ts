import type {
  Attributes,
  Block,
  Instruction,
  KernelIr,
  Location,
  Operand,
  ParamType,
  Register,
  SharedVariable,
  ValueType,
} from '../../codegen/ir/op.ts'

/**
 * Builds a kernel node by node. Everything emitted carries `location`, which the caller moves along; blocks nest by
 * callbacks.
 *
 *     const b = new IrBuilder('scale', [128, 1, 1], location)
 *     const x = b.param('x', 'address')
 *     const i = b.value('special', 'i32', [], { name: 'tid.x' })
 *     b.if(b.value('compare', 'bool', [i, immediate('i32', 100)], { relation: 'lt' }), () => { … })
 *     const ir = b.finish()
 */
export class IrBuilder {
  /** The source position of what is emitted next. */
  location: Location
  readonly #name: string
  readonly #block: readonly [number, number, number]
  readonly #params: { name: string; type: ParamType }[] = []
  readonly #shared: SharedVariable[] = []
  readonly #body: Block = []
  #current: Block = this.#body
  #registers = 0

  constructor(name: string, block: readonly [number, number, number], location: Location) {
    this.#name = name
    this.#block = block
    this.location = location
  }

  /** Declares the next parameter and reads it. */
  param(name: string, type: 'address' | 'i32' | 'u32' | 'f32'): Register {
    const index = this.#params.push({ name, type }) - 1
    return this.value('param', type, [], { index })
  }

  /** Declares the next parameter, a tensor map, and takes its address. */
  tensorMap(name: string): Register {
    const index = this.#params.push({ name, type: 'tensorMap' }) - 1
    return this.value('tensorMap', 'u64', [], { index })
  }

  /** Declares a tile in shared memory; `sharedAddress` with attribute `variable: id` gives its address. */
  shared(name: string, bytes: number, align = 16): SharedVariable {
    const variable = { id: this.#shared.length, name, bytes, align, location: this.location }
    this.#shared.push(variable)
    return variable
  }

  /** A fresh register, which nothing has written yet. */
  register(type: ValueType): Register {
    return { kind: 'register', id: this.#registers++, type }
  }

  /** Emits an instruction into registers that the caller has. */
  emit(
    op: string,
    results: readonly Register[],
    args: readonly Operand[],
    attributes: Attributes = {},
  ): Instruction {
    const node: Instruction = {
      kind: 'instruction',
      op,
      results,
      args,
      attributes,
      location: this.location,
    }
    this.#current.push(node)
    return node
  }

  /** Emits an instruction into a fresh register. */
  value(op: string, type: ValueType, args: readonly Operand[], attributes: Attributes = {}): Register {
    const result = this.register(type)
    this.emit(op, [result], args, attributes)
    return result
  }

  /** Emits an instruction into several fresh registers. */
  values(
    op: string,
    types: readonly ValueType[],
    args: readonly Operand[],
    attributes: Attributes = {},
  ): Register[] {
    const results = types.map((type) => this.register(type))
    this.emit(op, results, args, attributes)
    return results
  }

  /** `dst = src`; the way a variable of the source gets a value. */
  move(dst: Register, src: Operand): void {
    this.emit('move', [dst], [src])
  }

  if(condition: Operand, then: () => void, otherwise: () => void = () => {}): void {
    const location = this.location
    const thenBlock = this.#collect(then)
    const otherwiseBlock = this.#collect(otherwise)
    this.#current.push({ kind: 'if', condition, body: thenBlock, otherwise: otherwiseBlock, location })
  }

  /** Repeats `body` then `step` until a `break`; `continue` goes to `step`. */
  loop(body: () => void, step: () => void = () => {}): void {
    const location = this.location
    const bodyBlock = this.#collect(body)
    const stepBlock = this.#collect(step)
    this.#current.push({ kind: 'loop', body: bodyBlock, step: stepBlock, location })
  }

  jump(kind: 'break' | 'continue' | 'return'): void {
    this.#current.push({ kind, location: this.location })
  }

  finish(limits: { maxRegisters?: number; blocksPerMultiprocessor?: number } = {}): KernelIr {
    return {
      name: this.#name,
      params: this.#params,
      shared: this.#shared,
      body: this.#body,
      block: this.#block,
      ...limits,
    }
  }

  #collect(emit: () => void): Block {
    const outer = this.#current
    const block: Block = []
    this.#current = block
    try {
      emit()
    } finally {
      this.#current = outer
    }
    return block
  }
}
