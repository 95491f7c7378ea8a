import type { FunctionRef } from '../wasm/function.ts'
import type { ModuleBuilder } from '../wasm/module.ts'
import type { I32 } from '../wasm/operations.ts'

/** Takes the address of a register of 32 lanes, of 4 or 8 bytes each: whether they all hold the same. */
export function lanesAgree(m: ModuleBuilder, bytes: 4 | 8): FunctionRef<readonly ['i32'], readonly ['i32']> {
  return m.routine(`agree.b${8 * bytes}`, ['i32'], ['i32'], (w) => {
    const [register] = w.args
    const { i32, i64 } = w
    const at = w.local('i32')
    const differs = w.let(i32.const(0))
    const other = (): I32 =>
      bytes === 4
        ? i32.ne(i32.load(w.get(at)), i32.load(w.get(register)))
        : i64.ne(i64.load(w.get(at)), i64.load(w.get(register)))
    const end = w.let(i32.add(w.get(register), i32.const(32 * bytes)))
    w.for(
      at,
      w.get(register),
      () => w.get(end),
      () => w.set(differs, i32.or(other(), w.get(differs))),
      bytes,
    )
    i32.eqz(w.get(differs))
  })
}
