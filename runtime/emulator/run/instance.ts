import { checkModule, copyModule, environment } from '../translate/layout.ts'
import { type WasmGlobal, type WasmMemory, type WasmModule, WebAssembly } from '../wasm/host.ts'
import type { CopyImports } from './copy-engine.ts'
import type { WarpFunction } from './cta.ts'
import { faultImport } from './faults.ts'

/** The addresses of memory that a module's functions use beside the warp's state. */
export interface PrivateMemory {
  readonly scratch: number
  readonly counters?: number
}

/** Instantiates a module over the device's memory. */
export function instantiate(
  module: WasmModule,
  memory: WasmMemory,
  { scratch, counters }: PrivateMemory,
  copies: CopyImports,
  checks: object = {},
): WarpFunction {
  const { exports } = new WebAssembly.Instance(module, {
    [environment]: { memory, fault: faultImport },
    [copyModule]: copies as unknown as Readonly<Record<string, unknown>>,
    [checkModule]: checks as Readonly<Record<string, unknown>>,
  })
  const setGlobal = (global: WasmGlobal, value: number): void => {
    global.value = value
  }
  setGlobal(exports.scratch, scratch)
  if (counters !== undefined) setGlobal(exports.counters, counters)
  return exports.warp
}
