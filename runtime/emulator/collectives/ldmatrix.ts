import type { FunctionBuilder, FunctionRef, Local } from '../wasm/function.ts'
import type { ModuleBuilder } from '../wasm/module.ts'

/** `.x1`, `.x2`, `.x4`. */
export type MatrixCount = 1 | 2 | 4

export type Eight<T> = readonly T[]

/**
 * `ldmatrix.sync.aligned.m8n8.xN{.trans}.shared.b16`: takes the addresses of the destination registers, the address of
 * the register that holds shared addresses, and the linear address of shared address 0, all i32.
 *
 * The PTX manual: lanes 8i to 8i + 7 hold the addresses of the eight rows of matrix i, 16 bytes each; lane l receives
 * word l % 4 of row l / 4, so rows in order are the register itself. With `.trans` it receives elements (2(l % 4),
 * l / 4) and (2(l % 4) + 1, l / 4): the rows of the transpose. Addresses must be multiples of 16.
 */
export function ldmatrix(m: ModuleBuilder, count: MatrixCount, trans: boolean): FunctionRef {
  const params = Array<'i32'>(count + 2).fill('i32')
  return m.routine(`ldmatrix.x${count}${trans ? '.trans' : ''}`, params, [], (w) => {
    const [addresses, sharedBase] = w.args.slice(count) as [Local<'i32'>, Local<'i32'>]
    for (let i = 0; i < count; i++) {
      const rows = eight((r) => {
        const row = w.i32.add(w.get(sharedBase), w.i32.load(w.get(addresses), (8 * i + r) * 4))
        return w.let(w.v128.load(row))
      })
      storeRegister(w, w.args[i]!, trans ? transposeHalves(w, rows) : rows)
    }
  })
}

export function eight<T>(make: (i: number) => T): Eight<T> {
  return Array.from({ length: 8 }, (_, i) => make(i))
}

function storeRegister(w: FunctionBuilder, register: Local<'i32'>, rows: Eight<Local<'v128'>>): void {
  rows.forEach((row, r) => {
    w.v128.store(w.get(register), w.get(row), r * 16)
  })
  w.release(...rows)
}

/** Eight rows of eight 16-bit elements become eight columns, by interleaving rows i and i + 4 three times. */
export function transposeHalves(w: FunctionBuilder, rows: Eight<Local<'v128'>>): Eight<Local<'v128'>> {
  const low = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23]
  const high = low.map((byte) => byte + 8)
  let current = rows
  for (let stage = 0; stage < 3; stage++) {
    const next = eight((i) =>
      w.let(w.i8x16.shuffle(w.get(current[i >> 1]!), w.get(current[(i >> 1) + 4]!), i & 1 ? high : low)),
    )
    w.release(...current)
    current = next
  }
  return current
}
