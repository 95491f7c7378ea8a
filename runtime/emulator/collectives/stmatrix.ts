import type { FunctionRef, Local } from '../wasm/function.ts'
import type { ModuleBuilder } from '../wasm/module.ts'
import { eight, type MatrixCount, transposeHalves } from './ldmatrix.ts'

/**
 * `stmatrix.sync.aligned.m8n8.xN{.trans}.shared.b16`, the inverse of `ldmatrix`: takes the addresses of the source
 * registers, the address of the register that holds shared addresses, and the linear address of shared address 0.
 */
export function stmatrix(m: ModuleBuilder, count: MatrixCount, trans: boolean): FunctionRef {
  const params = Array<'i32'>(count + 2).fill('i32')
  return m.routine(`stmatrix.x${count}${trans ? '.trans' : ''}`, params, [], (w) => {
    const [addresses, sharedBase] = w.args.slice(count) as [Local<'i32'>, Local<'i32'>]
    for (let i = 0; i < count; i++) {
      const words = eight((r) => w.let(w.v128.load(w.get(w.args[i]!), r * 16)))
      const rows = trans ? transposeHalves(w, words) : words
      rows.forEach((row, r) => {
        const address = w.i32.add(w.get(sharedBase), w.i32.load(w.get(addresses), (8 * i + r) * 4))
        w.v128.store(address, w.get(row))
      })
      w.release(...rows)
    }
  })
}
