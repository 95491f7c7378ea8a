import { ByteWriter } from './bytes.ts'
import { FunctionBuilder, type FunctionRef, writeType } from './function.ts'
import type { ValueType } from './operations.ts'

export interface MemoryLimits {
  /** In pages of 64 KiB. */
  readonly minimum: number
  /** Required for a shared memory. */
  readonly maximum?: number
  readonly shared?: boolean
}

export interface Global<T extends ValueType = ValueType> {
  readonly type: T
  readonly index: number
}

const section = { type: 1, import: 2, function: 3, memory: 5, global: 6, export: 7, code: 10 } as const

/**
 * Encodes one WebAssembly module by hand: no optimizer, no dependency, some microseconds an instruction.
 *
 * ```ts
 * const m = new ModuleBuilder()
 * m.importMemory('env', 'memory', { minimum: 1, maximum: 65536, shared: true })
 * const w = m.function('sum', ['i32', 'i32'], ['i32'], { export: 'sum' })
 * w.i32.add(w.get(w.args[0]), w.get(w.args[1]))
 * const instance = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), { env: { memory } })
 * ```
 *
 * Imports may be added after functions; calls are resolved by `encode`.
 */
export class ModuleBuilder {
  private readonly types = new ByteWriter()
  private readonly typeIndices = new Map<string, number>()
  private readonly imports = new ByteWriter()
  private importCount = 0
  private readonly importedFunctions: FunctionRef[] = []
  private readonly functions: FunctionBuilder[] = []
  private readonly typeOfFunction: number[] = []
  private readonly exports: [name: string, kind: number, index: () => number][] = []
  private readonly globals = new ByteWriter()
  private globalCount = 0
  private ownMemory: MemoryLimits | undefined
  private readonly routines = new Map<string, FunctionRef>()

  private typeIndex(params: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${params.join()}>${results.join()}`
    let index = this.typeIndices.get(key)
    if (index !== undefined) return index
    index = this.typeIndices.size
    this.typeIndices.set(key, index)
    this.types.byte(0x60)
    for (const list of [params, results]) {
      this.types.u32(list.length)
      for (const type of list) writeType(this.types, type)
    }
    return index
  }

  private import(module: string, name: string, kind: number): void {
    this.imports.name(module)
    this.imports.name(name)
    this.imports.byte(kind)
    this.importCount++
  }

  importMemory(module: string, name: string, limits: MemoryLimits): void {
    this.import(module, name, 2)
    writeLimits(this.imports, limits)
  }

  importFunction<const P extends readonly ValueType[], const R extends readonly ValueType[]>(
    module: string,
    name: string,
    params: P,
    results: R,
  ): FunctionRef<P, R> {
    this.import(module, name, 0)
    this.imports.u32(this.typeIndex(params, results))
    const ref = { params, results, name, position: this.importedFunctions.length, imported: true }
    this.importedFunctions.push(ref)
    return ref
  }

  /** A memory of the module's own, exported under `exportName`. */
  memory(limits: MemoryLimits, exportName: string): void {
    this.ownMemory = limits
    this.exports.push([exportName, 2, () => 0])
  }

  /** A mutable global. */
  global<T extends 'i32' | 'i64'>(
    type: T,
    initial: number,
    options: { readonly export?: string } = {},
  ): Global<T> {
    const index = this.globalCount++
    writeType(this.globals, type)
    this.globals.byte(1)
    this.globals.byte(type === 'i32' ? 0x41 : 0x42)
    if (type === 'i32') this.globals.i32(initial)
    else this.globals.i64(BigInt(initial))
    this.globals.byte(0x0b)
    if (options.export !== undefined) this.exports.push([options.export, 3, () => index])
    return { type, index }
  }

  /** A new function; write its body through the builder. `name` shows in stack traces. */
  function<const P extends readonly ValueType[], const R extends readonly ValueType[]>(
    name: string,
    params: P,
    results: R,
    options: { readonly export?: string } = {},
  ): FunctionBuilder<P, R> {
    const position = this.functions.length
    const builder = new FunctionBuilder<P, R>(this, name, position, params, results)
    this.functions.push(builder as unknown as FunctionBuilder)
    this.typeOfFunction.push(this.typeIndex(params, results))
    if (options.export !== undefined)
      this.exports.push([options.export, 0, () => this.importedFunctions.length + position])
    return builder
  }

  /**
   * A function that several callers share: the first call with `name` makes and writes it, later calls return it.
   * `body` may ask for further routines, but not for itself.
   */
  routine<const P extends readonly ValueType[], const R extends readonly ValueType[]>(
    name: string,
    params: P,
    results: R,
    body: (w: FunctionBuilder<P, R>) => void,
  ): FunctionRef<P, R> {
    const known = this.routines.get(name)
    if (known) return known as unknown as FunctionRef<P, R>
    const builder = this.function(name, params, results)
    this.routines.set(name, builder as unknown as FunctionRef)
    body(builder)
    return builder
  }

  encode(): Uint8Array<ArrayBuffer> {
    const out = new ByteWriter(1 << 16)
    out.bytes([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00])
    const write = (id: number, count: number, content: (body: ByteWriter) => void) => {
      if (count === 0) return
      const body = new ByteWriter(1024)
      body.u32(count)
      content(body)
      out.byte(id)
      out.u32(body.length)
      out.bytes(body.view())
    }
    write(section.type, this.typeIndices.size, (body) => body.bytes(this.types.view()))
    write(section.import, this.importCount, (body) => body.bytes(this.imports.view()))
    write(section.function, this.functions.length, (body) => {
      for (const type of this.typeOfFunction) body.u32(type)
    })
    write(section.memory, this.ownMemory ? 1 : 0, (body) => writeLimits(body, this.ownMemory!))
    write(section.global, this.globalCount, (body) => body.bytes(this.globals.view()))
    write(section.export, this.exports.length, (body) => {
      for (const [name, kind, index] of this.exports) {
        body.name(name)
        body.byte(kind)
        body.u32(index())
      }
    })
    write(section.code, this.functions.length, (body) => {
      for (const builder of this.functions) builder.writeBody(body, this.importedFunctions.length)
    })
    this.writeNames(out)
    return out.view().slice() as Uint8Array<ArrayBuffer>
  }

  /** The custom section from which engines take function names. */
  private writeNames(out: ByteWriter): void {
    const names = new ByteWriter()
    const all = [...this.importedFunctions, ...this.functions]
    names.u32(all.length)
    all.forEach((f, index) => {
      names.u32(index)
      names.name(f.name)
    })
    const body = new ByteWriter()
    body.name('name')
    body.byte(1)
    body.u32(names.length)
    body.bytes(names.view())
    out.byte(0)
    out.u32(body.length)
    out.bytes(body.view())
  }
}

function writeLimits(out: ByteWriter, { minimum, maximum, shared = false }: MemoryLimits): void {
  if (shared && maximum === undefined) throw new Error('A shared WebAssembly memory needs a maximum size')
  out.byte((shared ? 2 : 0) | (maximum === undefined ? 0 : 1))
  out.u32(minimum)
  if (maximum !== undefined) out.u32(maximum)
}
