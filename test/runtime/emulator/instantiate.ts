import type { FunctionBuilder } from '../../../runtime/emulator/wasm/function.ts'
import { type WasmInstance, WebAssembly } from '../../../runtime/emulator/wasm/host.ts'
import { ModuleBuilder } from '../../../runtime/emulator/wasm/module.ts'
import type { ValueType } from '../../../runtime/emulator/wasm/operations.ts'

export interface Harness {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly run: (...args: number[]) => number
  readonly exports: WasmInstance['exports']
}

/** A module with a memory of its own and one exported function that `body` writes. */
export function build<const P extends readonly ValueType[], const R extends readonly ValueType[]>(
  params: P,
  results: R,
  body: (w: FunctionBuilder<P, R>, m: ModuleBuilder) => void,
): Harness {
  const m = new ModuleBuilder()
  m.memory({ minimum: 2 }, 'memory')
  body(m.function('run', params, results, { export: 'run' }), m)
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.encode()))
  return {
    bytes: new Uint8Array(exports.memory.buffer),
    run: exports.run,
    exports,
  }
}

const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)

export function bitsOf(value: number): number {
  f32[0] = value
  return u32[0]!
}
export function fromBits(bits: number): number {
  u32[0] = bits
  return f32[0]!
}
