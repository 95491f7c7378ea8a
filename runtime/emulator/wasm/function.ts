import { ByteWriter } from './bytes.ts'
import type { Global, ModuleBuilder } from './module.ts'
import {
  type I32,
  type Operations,
  operationsInto,
  type Value,
  type ValueType,
  values,
} from './operations.ts'

export type Tuple<P extends readonly ValueType[]> = { readonly [K in keyof P]: Value<P[K]> }
/** What a call leaves: nothing, or the one result. */
export type Result<R extends readonly ValueType[]> = R extends readonly [infer T extends ValueType]
  ? Value<T>
  : undefined

/** Something to call: a function of this module or an imported one. */
export interface FunctionRef<
  P extends readonly ValueType[] = readonly ValueType[],
  R extends readonly ValueType[] = readonly ValueType[],
> {
  readonly params: P
  readonly results: R
  /** Shown in stack traces and profiles. */
  readonly name: string
  /** Position among the imports, or among the module's own functions. */
  readonly position: number
  readonly imported: boolean
}

export interface Local<T extends ValueType = ValueType> {
  readonly type: T
  readonly index: number
}

/** The target of a branch: the end of a block or `if`, or the head of a loop. */
export interface Label {
  readonly depth: number
}

const typeCode: Readonly<Record<ValueType, number>> = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
}
const noResult = 0x40

export function writeType(out: ByteWriter, type: ValueType): void {
  out.byte(typeCode[type])
}

/**
 * Writes one function body. Instructions sit in namespaces by type (`w.i32.add`, `w.f32x4.mul`, `w.v128.load`);
 * locals, control and calls are methods. Get one from `ModuleBuilder.function`.
 */
export class FunctionBuilder<
  P extends readonly ValueType[] = readonly ValueType[],
  R extends readonly ValueType[] = readonly ValueType[],
> implements FunctionRef<P, R>
{
  readonly module: ModuleBuilder
  readonly params: P
  readonly results: R
  readonly name: string
  readonly position: number
  readonly imported = false
  /** The parameters as locals. */
  readonly args: { readonly [K in keyof P]: Local<P[K]> }

  readonly i32: Operations['i32']
  readonly i64: Operations['i64']
  readonly f32: Operations['f32']
  readonly f64: Operations['f64']
  readonly v128: Operations['v128']
  readonly i8x16: Operations['i8x16']
  readonly i16x8: Operations['i16x8']
  readonly i32x4: Operations['i32x4']
  readonly i64x2: Operations['i64x2']
  readonly f32x4: Operations['f32x4']
  readonly f64x2: Operations['f64x2']

  private readonly out = new ByteWriter(1024)
  private readonly locals: ValueType[] = []
  private readonly free: { [T in ValueType]: Local<T>[] } = { i32: [], i64: [], f32: [], f64: [], v128: [] }
  private readonly calls: [at: number, callee: FunctionRef][] = []
  private depth = 0

  constructor(module: ModuleBuilder, name: string, position: number, params: P, results: R) {
    this.module = module
    this.name = name
    this.position = position
    this.params = params
    this.results = results
    this.args = params.map((type, index) => ({ type, index })) as unknown as typeof this.args
    const operations = operationsInto(this.out)
    this.i32 = operations.i32
    this.i64 = operations.i64
    this.f32 = operations.f32
    this.f64 = operations.f64
    this.v128 = operations.v128
    this.i8x16 = operations.i8x16
    this.i16x8 = operations.i16x8
    this.i32x4 = operations.i32x4
    this.i64x2 = operations.i64x2
    this.f32x4 = operations.f32x4
    this.f64x2 = operations.f64x2
  }

  /** A new local; zero when the function starts, but stale where `release` gave it back before. */
  local<T extends ValueType>(type: T): Local<T> {
    return (
      (this.free[type] as unknown as Local<T>[]).pop() ?? {
        type,
        index: this.params.length + this.locals.push(type) - 1,
      }
    )
  }
  /** Gives locals back for `local` to hand out again. */
  release(...locals: Local[]): void {
    for (const local of locals) (this.free[local.type] as Local[]).push(local)
  }
  get<T extends ValueType>(local: Local<T>): Value<T> {
    this.out.byte(0x20)
    this.out.u32(local.index)
    return values[local.type] as Value<T>
  }
  set<T extends ValueType>(local: Local<T>, _value: Value<T>): void {
    this.out.byte(0x21)
    this.out.u32(local.index)
  }
  /** Sets the local and leaves the value. */
  tee<T extends ValueType>(local: Local<T>, _value: Value<T>): Value<T> {
    this.out.byte(0x22)
    this.out.u32(local.index)
    return values[local.type] as Value<T>
  }
  /** A new local set to `value`. */
  let<T extends ValueType>(value: Value<T>): Local<T> {
    const local = this.local(value.type)
    this.set(local, value)
    return local
  }
  getGlobal<T extends ValueType>(global: Global<T>): Value<T> {
    this.out.byte(0x23)
    this.out.u32(global.index)
    return values[global.type] as Value<T>
  }
  setGlobal<T extends ValueType>(global: Global<T>, _value: Value<T>): void {
    this.out.byte(0x24)
    this.out.u32(global.index)
  }

  call<const A extends readonly ValueType[], const B extends readonly ValueType[]>(
    callee: FunctionRef<A, B>,
    ..._args: Tuple<A>
  ): Result<B> {
    this.out.byte(0x10)
    this.calls.push([this.out.length, callee])
    this.out.paddedU32(0)
    return (callee.results.length === 1 ? values[callee.results[0]!] : undefined) as Result<B>
  }
  return(_value?: Value<ValueType>): void {
    this.out.byte(0x0f)
  }
  unreachable(): void {
    this.out.byte(0x00)
  }
  drop(_value: Value<ValueType>): void {
    this.out.byte(0x1a)
  }
  /** `a` where `condition` is not zero, else `b`; both are computed. */
  select<T extends ValueType>(a: Value<T>, _b: Value<T>, _condition: I32): Value<T> {
    // v128 operands need the typed form; the plain one serves numbers in one byte.
    if (a?.type === 'v128') {
      this.out.byte(0x1c)
      this.out.byte(1)
      writeType(this.out, 'v128')
    } else this.out.byte(0x1b)
    return a
  }

  private open(opcode: number, type?: ValueType): Label {
    this.out.byte(opcode)
    this.out.byte(type ? typeCode[type] : noResult)
    return { depth: this.depth++ }
  }
  /** Opens a block; `type` is what it leaves. Pair with `end`. */
  beginBlock(type?: ValueType): Label {
    return this.open(0x02, type)
  }
  beginLoop(type?: ValueType): Label {
    return this.open(0x03, type)
  }
  beginIf(_condition: I32, type?: ValueType): Label {
    return this.open(0x04, type)
  }
  else(): void {
    this.out.byte(0x05)
  }
  end(): void {
    if (this.depth === 0) throw new Error(`Unbalanced end() in WebAssembly function ${this.name}`)
    this.depth--
    this.out.byte(0x0b)
  }

  /** A block; branching to its label leaves it. */
  block(body: (label: Label) => void): void {
    body(this.beginBlock())
    this.end()
  }
  /** A loop; branching to its label runs it again, falling out of `body` leaves it. */
  loop(body: (label: Label) => void): void {
    body(this.beginLoop())
    this.end()
  }
  if(condition: I32, then: (label: Label) => void, otherwise?: (label: Label) => void): void {
    const label = this.beginIf(condition)
    then(label)
    if (otherwise) {
      this.else()
      otherwise(label)
    }
    this.end()
  }
  /** An `if` that leaves a value; only the branch taken is computed. */
  choose<T extends ValueType>(
    type: T,
    condition: I32,
    then: () => Value<T>,
    otherwise: () => Value<T>,
  ): Value<T> {
    this.beginIf(condition, type)
    then()
    this.else()
    otherwise()
    this.end()
    return values[type] as Value<T>
  }
  /** Counts `index` from `start` up to `end` (unsigned, both constants or locals set before). */
  for(index: Local<'i32'>, start: I32, end: () => I32, body: () => void, step = 1): void {
    this.set(index, start)
    this.block((exit) =>
      this.loop((again) => {
        this.brIf(exit, this.i32.ge_u(this.get(index), end()))
        body()
        this.set(index, this.i32.add(this.get(index), this.i32.const(step)))
        this.br(again)
      }),
    )
  }

  private writeLabel(label: Label): void {
    this.out.u32(this.depth - label.depth - 1)
  }
  br(label: Label): void {
    this.out.byte(0x0c)
    this.writeLabel(label)
  }
  brIf(label: Label, _condition: I32): void {
    this.out.byte(0x0d)
    this.writeLabel(label)
  }
  /** Branches to `labels[index]`, or to `otherwise` when index is out of range. */
  brTable(_index: I32, labels: readonly Label[], otherwise: Label): void {
    this.out.byte(0x0e)
    this.out.u32(labels.length)
    for (const label of labels) this.writeLabel(label)
    this.writeLabel(otherwise)
  }

  memoryCopy(_dst: I32, _src: I32, _bytes: I32): void {
    this.out.bytes([0xfc, 0x0a, 0x00, 0x00])
  }
  memoryFill(_dst: I32, _byte: I32, _bytes: I32): void {
    this.out.bytes([0xfc, 0x0b, 0x00])
  }
  memorySize(): I32 {
    this.out.bytes([0x3f, 0x00])
    return values.i32
  }
  atomicFence(): void {
    this.out.bytes([0xfe, 0x03, 0x00])
  }
  /** Wakes waiters; leaves how many. */
  atomicNotify(_address: I32, _count: I32, offset = 0): I32 {
    this.out.bytes([0xfe, 0x00, 0x02])
    this.out.u32(offset)
    return values.i32
  }
  /** Leaves 0 when woken, 1 when the value differed, 2 after `timeout` nanoseconds (negative: none). */
  atomicWait(_address: I32, _expected: I32, _timeout: Value<'i64'>, offset = 0): I32 {
    this.out.bytes([0xfe, 0x01, 0x02])
    this.out.u32(offset)
    return values.i32
  }

  /** The body with its size, as the code section wants it. */
  writeBody(out: ByteWriter, importedFunctions: number): void {
    if (this.depth !== 0) throw new Error(`WebAssembly function ${this.name} has ${this.depth} open blocks`)
    for (const [at, callee] of this.calls)
      this.out.patchU32(at, callee.position + (callee.imported ? 0 : importedFunctions))
    const declarations = new ByteWriter(16)
    const runs: [ValueType, number][] = []
    for (const type of this.locals) {
      const last = runs.at(-1)
      if (last?.[0] === type) last[1]++
      else runs.push([type, 1])
    }
    declarations.u32(runs.length)
    for (const [type, count] of runs) {
      declarations.u32(count)
      writeType(declarations, type)
    }
    out.u32(declarations.length + this.out.length + 1)
    out.bytes(declarations.view())
    out.bytes(this.out.view())
    out.byte(0x0b)
  }
}
