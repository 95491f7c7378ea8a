/**
 * The part of the WebAssembly JavaScript interface that the emulator uses. TypeScript declares it with the DOM only,
 * which a Node.js package does not load.
 */
export interface WasmMemory {
  /** A `SharedArrayBuffer` when the memory is shared. */
  readonly buffer: ArrayBufferLike
  /** Adds pages of 64 KiB; gives the former number of pages. Throws RangeError past the maximum. */
  grow(pages: number): number
}

export interface WasmGlobal {
  value: number
}

/** A compiled module; it may be posted to a worker. */
export interface WasmModule {
  readonly compiled?: never
}

export interface WasmInstance {
  readonly exports: Readonly<Record<string, WasmExport>>
}
// biome-ignore lint/suspicious/noExplicitAny: what an export is depends on the module
export type WasmExport = any

interface WebAssemblyNamespace {
  readonly Memory: new (descriptor: {
    readonly initial: number
    readonly maximum?: number
    readonly shared?: boolean
  }) => WasmMemory
  readonly Module: (new (
    bytes: Uint8Array,
  ) => WasmModule) & {
    customSections(module: WasmModule, name: string): ArrayBuffer[]
  }
  readonly Instance: new (
    module: WasmModule,
    imports?: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ) => WasmInstance
  validate(bytes: Uint8Array): boolean
}

export const WebAssembly = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly
