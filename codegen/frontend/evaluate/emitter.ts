import type {
  Attributes,
  Block,
  Instruction,
  Location,
  Operand,
  Register,
  SharedVariable,
  ValueType,
} from '../../ir/op.ts'
import type { Span } from '../syntax.ts'
import { positionOf } from '../syntax.ts'

/** A block under construction: the kernel's body, an arm of an `if`, or the body of a run-time loop. */
export interface Region {
  readonly kind: 'root' | 'if' | 'loop'
  readonly parent: Region | undefined
  /** Run-time loops around, this one included. */
  readonly loops: number
  block: Block
}

/** A call being inlined, as locations name it. */
export interface InlineFrame {
  readonly callee: string
  readonly at: Span
  readonly parent: InlineFrame | undefined
  location?: { readonly callee: string; readonly at: Location }
}

/**
 * Collects instructions into nested regions.
 *
 * Partial evaluation needs two things of it: a region's block can be thrown away or merged into its parent, and a
 * variable can get its register in an outer region after inner ones have been entered.
 */
export class Emitter {
  readonly root: Region = { kind: 'root', parent: undefined, loops: 0, block: [] }
  region: Region = this.root
  /** What every thread reads once: parameters and special registers. Stands before the body. */
  readonly entry: Block = []
  readonly shared: SharedVariable[] = []
  /** Instructions emitted so far. */
  count = 0
  /** Assignments to variables' registers so far. */
  writes = 0
  readonly limit: number
  onLimit: () => never
  #registers = 0
  #span: Span | undefined
  #frame: InlineFrame | undefined
  #location: Location | undefined
  readonly #entryValues = new Map<string, unknown>()

  constructor(limit: number, onLimit: () => never) {
    this.limit = limit
    this.onLimit = onLimit
  }

  /** The source position of what is emitted next. */
  at(span: Span, frame: InlineFrame | undefined): void {
    if (span === this.#span && frame === this.#frame) return
    this.#span = span
    this.#frame = frame
    this.#location = undefined
  }

  get location(): Location {
    this.#location ??= locationOf(this.#span!, this.#frame)
    return this.#location
  }

  register(type: ValueType): Register {
    return { kind: 'register', id: this.#registers++, type }
  }

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
    this.region.block.push(node)
    if (++this.count > this.limit) this.onLimit()
    return node
  }

  /** Makes a shared variable start at a multiple of `align` bytes. */
  alignShared(variable: number, align: number): void {
    const at = this.shared.findIndex(({ id }) => id === variable)
    const found = this.shared[at]!
    this.shared[at] = { ...found, align: Math.max(found.align, align) }
  }

  /** Assigns a variable's register. */
  write(register: Register, value: Operand): void {
    this.writes++
    this.emit('move', [register], [value])
  }

  value(op: string, type: ValueType, args: readonly Operand[], attributes: Attributes = {}): Register {
    const result = this.register(type)
    this.emit(op, [result], args, attributes)
    return result
  }

  /** A value that is the same in the whole kernel, read once at its entry. */
  entryValue(op: string, type: ValueType, attributes: Attributes): Register {
    const key = `${op} ${JSON.stringify(attributes)}`
    return this.atEntry(key, () => this.value(op, type, [], attributes))
  }

  /** What `compute` gives, computed once at the kernel's entry. */
  atEntry<T>(key: string, compute: () => T): T {
    if (!this.#entryValues.has(key)) {
      this.into(this.root, this.entry, () => {
        this.#entryValues.set(key, compute())
      })
    }
    return this.#entryValues.get(key) as T
  }

  /** Runs `emit` with a fresh region and returns the region; its block is not yet part of anything. */
  inside(kind: 'if' | 'loop', emit: () => void): Region {
    const parent = this.region
    const region: Region = {
      kind,
      parent,
      loops: parent.loops + (kind === 'loop' ? 1 : 0),
      block: [],
    }
    this.region = region
    try {
      emit()
    } finally {
      this.region = parent
    }
    return region
  }

  /** Emits into another block of a region: the step of a loop. */
  into(region: Region, block: Block, emit: () => void): void {
    const outer = this.region
    const previous = region.block
    this.region = region
    region.block = block
    try {
      emit()
    } finally {
      region.block = previous
      this.region = outer
    }
  }

  /** The outermost run-time loop around the current place that is inside `region`. */
  outermostLoop(region: Region): Region | undefined {
    let found: Region | undefined
    for (let at: Region | undefined = this.region; at && at !== region; at = at.parent) {
      if (at.kind === 'loop') found = at
    }
    return found
  }
}

export function locationOf(span: Span, frame: InlineFrame | undefined): Location {
  const { line, column } = positionOf(span.source, span.start)
  const place = { file: span.source.path, line, column }
  if (!frame) return place
  frame.location ??= { callee: frame.callee, at: locationOf(frame.at, frame.parent) }
  return { ...place, inlined: frame.location }
}
