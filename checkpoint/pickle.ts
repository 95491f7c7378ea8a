/**
 * What a pickle may hold here: plain values, and what the caller makes of the globals that it knows. Lists and tuples are
 * arrays, dictionaries are maps.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PickleValue[]
  | Map<PickleValue, PickleValue>
  | object

/** What a pickle may name, and nothing else. */
export interface PickleGlobals {
  /** What stands for a global, such as `torch FloatStorage`: `undefined` refuses it. */
  global(module: string, name: string): PickleFunction | object | undefined
  /** What stands for an object that lies outside of the pickle, named by `id`. */
  persistent(id: PickleValue): PickleValue
}

/** Makes an object from arguments; the only code that a pickle can cause to run. */
export type PickleFunction = (args: readonly PickleValue[]) => PickleValue

/** A pickle is damaged, or asks for what is not allowed. */
export class PickleError extends Error {
  override readonly name = 'PickleError'
}

/** Deeper nesting than any checkpoint has. */
const mostMarks = 64

const mark = Symbol('mark')

/**
 * Reads a pickle of protocol 2 to 5 as data: a stack machine with the opcodes that build plain values. Opcodes that
 * import or call reach only what `globals` answers to, so nothing can be executed; unknown opcodes are refused.
 *
 * Source of the opcodes: the standard library's pickletools. Throws `PickleError`.
 */
export function parsePickle(bytes: Uint8Array, globals: PickleGlobals): PickleValue {
  return new PickleMachine(bytes, globals).run()
}

class PickleMachine {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #globals: PickleGlobals
  readonly #stack: (PickleValue | typeof mark)[] = []
  readonly #memo = new Map<number, PickleValue>()
  #marks = 0
  #at = 0

  constructor(bytes: Uint8Array, globals: PickleGlobals) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#globals = globals
  }

  run(): PickleValue {
    for (;;) {
      const start = this.#at
      const opcode = this.#u8()
      if (opcode === 0x2e) {
        const value = this.#pop()
        if (this.#stack.length > 0)
          throw new PickleError(`${this.#stack.length} values are left over at its end`)
        return value
      }
      const step = steps[opcode]
      if (!step) throw new PickleError(`opcode 0x${opcode.toString(16)} at byte ${start} is not allowed`)
      step(this)
    }
  }

  /** The next `length` bytes, as a view. */
  take(length: number): Uint8Array {
    if (length > this.#bytes.byteLength - this.#at)
      throw new PickleError(
        `${length} bytes are named at byte ${this.#at}, and ${this.#bytes.byteLength - this.#at} are left`,
      )
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  #u8(): number {
    return this.take(1)[0]!
  }

  unsigned(size: 1 | 2 | 4 | 8): number {
    const at = this.#at
    this.take(size)
    if (size === 1) return this.#view.getUint8(at)
    if (size === 2) return this.#view.getUint16(at, true)
    if (size === 4) return this.#view.getUint32(at, true)
    const value = this.#view.getBigUint64(at, true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new PickleError(`a length of ${value} at byte ${at}`)
    return Number(value)
  }

  i32(): number {
    return this.unsigned(4) | 0
  }

  /** Big-endian, unlike everything else. */
  f64(): number {
    const at = this.#at
    this.take(8)
    return this.#view.getFloat64(at)
  }

  text(length: number): string {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(this.take(length))
    } catch (error) {
      if (error instanceof PickleError) throw error
      throw new PickleError(`a text before byte ${this.#at} is not UTF-8`)
    }
  }

  /** Up to the next line feed. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at)
    if (end < 0) throw new PickleError('a line does not end')
    const line = this.text(end - this.#at)
    this.#at++
    return line
  }

  push(value: PickleValue): void {
    this.#stack.push(value)
  }

  #pop(): PickleValue {
    const value = this.#stack.pop()
    if (value === undefined || value === mark)
      throw new PickleError(`a value is missing before byte ${this.#at}`)
    return value
  }

  pop(): PickleValue {
    return this.#pop()
  }

  top(): PickleValue {
    const value = this.#pop()
    this.#stack.push(value)
    return value
  }

  mark(): void {
    if (++this.#marks > mostMarks) throw new PickleError(`it nests values more than ${mostMarks} deep`)
    this.#stack.push(mark)
  }

  /** The values above the topmost mark, which goes too. */
  sinceMark(): PickleValue[] {
    const index = this.#stack.lastIndexOf(mark)
    if (index < 0) throw new PickleError(`a mark is missing before byte ${this.#at}`)
    this.#marks--
    const values = this.#stack.splice(index).slice(1)
    return values as PickleValue[]
  }

  remember(index: number): void {
    this.#memo.set(index, this.top())
  }

  rememberNext(): void {
    this.remember(this.#memo.size)
  }

  recall(index: number): void {
    const value = this.#memo.get(index)
    if (value === undefined) throw new PickleError(`value ${index} is used before it is made`)
    this.push(value)
  }

  global(module: string, name: string): void {
    const known = this.#globals.global(module, name)
    if (known === undefined)
      throw new PickleError(
        `it names ${module}.${name}, which is none of the things that a checkpoint is made of`,
      )
    this.push(known)
  }

  call(): void {
    const args = this.#pop()
    const callee = this.#pop()
    if (typeof callee !== 'function' || !Array.isArray(args))
      throw new PickleError(`a call before byte ${this.#at} is not that of a known function`)
    this.push((callee as PickleFunction)(args))
  }

  persistent(): void {
    this.push(this.#globals.persistent(this.#pop()))
  }

  setItems(pairs: readonly PickleValue[]): void {
    const dictionary = this.top()
    if (!(dictionary instanceof Map) || pairs.length % 2 !== 0)
      throw new PickleError(`items before byte ${this.#at} are set in what is no dictionary`)
    for (let i = 0; i < pairs.length; i += 2) dictionary.set(pairs[i]!, pairs[i + 1]!)
  }

  append(values: readonly PickleValue[]): void {
    const list = this.top()
    if (!Array.isArray(list))
      throw new PickleError(`values before byte ${this.#at} are appended to what is no list`)
    for (const value of values) list.push(value)
  }
}

/** A little-endian two's complement number of any length. */
function long(bytes: Uint8Array): number | bigint {
  if (bytes.byteLength > 16) throw new PickleError(`a whole number of ${bytes.byteLength} bytes`)
  let value = 0n
  for (let i = bytes.byteLength - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!)
  const signed = BigInt.asIntN(8 * bytes.byteLength, value)
  return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed
}

/** By opcode. */
const steps: Readonly<Record<number, (m: PickleMachine) => void>> = {
  // PROTO, FRAME
  128: (m) => {
    const protocol = m.unsigned(1)
    if (protocol < 2 || protocol > 5) throw new PickleError(`protocol ${protocol} is not one of 2 to 5`)
  },
  149: (m) => {
    m.unsigned(8)
  },
  // NONE, NEWTRUE, NEWFALSE
  78: (m) => m.push(null),
  136: (m) => m.push(true),
  137: (m) => m.push(false),
  // BININT, BININT1, BININT2, LONG1, BINFLOAT
  74: (m) => m.push(m.i32()),
  75: (m) => m.push(m.unsigned(1)),
  77: (m) => m.push(m.unsigned(2)),
  138: (m) => m.push(long(m.take(m.unsigned(1)))),
  71: (m) => m.push(m.f64()),
  // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8, SHORT_BINBYTES, BINBYTES
  140: (m) => m.push(m.text(m.unsigned(1))),
  88: (m) => m.push(m.text(m.unsigned(4))),
  141: (m) => m.push(m.text(m.unsigned(8))),
  67: (m) => m.push(m.take(m.unsigned(1))),
  66: (m) => m.push(m.take(m.unsigned(4))),
  // EMPTY_LIST, EMPTY_TUPLE, EMPTY_DICT, MARK, POP, POP_MARK
  93: (m) => m.push([]),
  41: (m) => m.push([]),
  125: (m) => m.push(new Map()),
  40: (m) => m.mark(),
  48: (m) => {
    m.pop()
  },
  49: (m) => {
    m.sinceMark()
  },
  // TUPLE, TUPLE1, TUPLE2, TUPLE3
  116: (m) => m.push(m.sinceMark()),
  133: (m) => m.push([m.pop()]),
  134: (m) => m.push([m.pop(), m.pop()].reverse()),
  135: (m) => m.push([m.pop(), m.pop(), m.pop()].reverse()),
  // APPEND, APPENDS, SETITEM, SETITEMS
  97: (m) => m.append([m.pop()]),
  101: (m) => m.append(m.sinceMark()),
  115: (m) => m.setItems([m.pop(), m.pop()].reverse()),
  117: (m) => m.setItems(m.sinceMark()),
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  113: (m) => m.remember(m.unsigned(1)),
  114: (m) => m.remember(m.unsigned(4)),
  148: (m) => m.rememberNext(),
  104: (m) => m.recall(m.unsigned(1)),
  106: (m) => m.recall(m.unsigned(4)),
  // GLOBAL, STACK_GLOBAL, REDUCE, BINPERSID
  99: (m) => m.global(m.line(), m.line()),
  147: (m) => {
    const [name, module] = [m.pop(), m.pop()]
    if (typeof name !== 'string' || typeof module !== 'string') throw new PickleError('a global has no name')
    m.global(module, name)
  },
  82: (m) => m.call(),
  81: (m) => m.persistent(),
  // BUILD sets attributes, such as a state dictionary's versions, which no tensor depends on.
  98: (m) => {
    m.pop()
  },
}
