import { environment } from '../translate/layout.ts'
import type { FunctionBuilder, Local } from '../wasm/function.ts'
import { type WasmMemory, type WasmModule, WebAssembly } from '../wasm/host.ts'
import { ModuleBuilder } from '../wasm/module.ts'
import type { I32 } from '../wasm/operations.ts'

/**
 * Copies rows of 16-byte chunks between a swizzled tile at `tile` (its rows one after the other) and plain rows at
 * `plain`, `stride` bytes apart. `mask` is the swizzle's bytes / 16 - 1, 0 for none.
 */
export interface TileCopier {
  load(tile: number, plain: number, rows: number, chunks: number, stride: number, mask: number): void
  store(tile: number, plain: number, rows: number, chunks: number, stride: number, mask: number): void
}

let compiled: WasmModule | undefined

/** The copier over a memory. */
export function tileCopier(memory: WasmMemory): TileCopier {
  compiled ??= new WebAssembly.Module(build())
  const { exports } = new WebAssembly.Instance(compiled, { [environment]: { memory } })
  return exports as unknown as TileCopier
}

type Signature = readonly ['i32', 'i32', 'i32', 'i32', 'i32', 'i32']

function build(): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder()
  m.importMemory(environment, 'memory', { minimum: 1, maximum: 65536, shared: true })
  const params = ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'] as const
  const load = m.function('load', params, [], { export: 'load' })
  writeRows(load, (tile, plain) => load.v128.store(tile(), load.v128.load(plain())))
  const store = m.function('store', params, [], { export: 'store' })
  writeRows(store, (tile, plain) => store.v128.store(plain(), store.v128.load(tile())))
  return m.encode()
}

function writeRows(
  w: FunctionBuilder<Signature, readonly []>,
  copyChunk: (tile: () => I32, plain: () => I32) => void,
): void {
  const [tile, plain, rows, chunks, stride, mask] = w.args
  const left = w.local('i32')
  const from = w.local('i32')
  const step = (local: Local<'i32'>, by: () => I32): void => w.set(local, w.i32.add(w.get(local), by()))
  w.loop((nextRow) => {
    w.set(left, w.get(chunks))
    w.set(from, w.get(plain))
    w.loop((nextChunk) => {
      const line = (): I32 => w.i32.and(w.i32.shr_u(w.get(tile), w.i32.const(7)), w.get(mask))
      copyChunk(
        () => w.i32.xor(w.get(tile), w.i32.shl(line(), w.i32.const(4))),
        () => w.get(from),
      )
      step(tile, () => w.i32.const(16))
      step(from, () => w.i32.const(16))
      step(left, () => w.i32.const(-1))
      w.brIf(nextChunk, w.get(left))
    })
    step(plain, () => w.get(stride))
    step(rows, () => w.i32.const(-1))
    w.brIf(nextRow, w.get(rows))
  })
}
