import type { FunctionRef } from '../wasm/function.ts'
import type { ModuleBuilder } from '../wasm/module.ts'
import type { I32 } from '../wasm/operations.ts'

export type ReduxOperation = 'add' | 'min.s32' | 'min.u32' | 'max.s32' | 'max.u32' | 'and' | 'or' | 'xor'

/**
 * `redux.sync`: takes the address of the source register and the mask of lanes taking part, and gives what every lane
 * of the mask receives. Addition wraps. An empty mask gives the operation's neutral element.
 */
export function redux(
  m: ModuleBuilder,
  operation: ReduxOperation,
): FunctionRef<readonly ['i32', 'i32'], readonly ['i32']> {
  return m.routine(`redux.${operation}`, ['i32', 'i32'], ['i32'], (w) => {
    const [source, mask] = w.args
    const { i32 } = w
    const value = w.local('i32')
    const result = w.let(i32.const(neutral[operation]))
    const pick = (keep: (a: I32, b: I32) => I32): I32 =>
      w.select(w.get(result), w.get(value), keep(w.get(result), w.get(value)))
    const combine: Record<ReduxOperation, () => I32> = {
      add: () => i32.add(w.get(result), w.get(value)),
      and: () => i32.and(w.get(result), w.get(value)),
      or: () => i32.or(w.get(result), w.get(value)),
      xor: () => i32.xor(w.get(result), w.get(value)),
      'min.s32': () => pick((a, b) => i32.lt_s(a, b)),
      'min.u32': () => pick((a, b) => i32.lt_u(a, b)),
      'max.s32': () => pick((a, b) => i32.gt_s(a, b)),
      'max.u32': () => pick((a, b) => i32.gt_u(a, b)),
    }
    w.block((exit) =>
      w.loop((again) => {
        w.brIf(exit, i32.eqz(w.get(mask)))
        const offset = i32.shl(i32.ctz(w.get(mask)), i32.const(2))
        w.set(value, i32.load(i32.add(offset, w.get(source))))
        w.set(result, combine[operation]())
        w.set(mask, i32.and(w.get(mask), i32.sub(w.get(mask), i32.const(1))))
        w.br(again)
      }),
    )
    w.get(result)
  })
}

const neutral: Readonly<Record<ReduxOperation, number>> = {
  add: 0,
  and: -1,
  or: 0,
  xor: 0,
  'min.s32': 0x7fffffff,
  'min.u32': 0xffffffff,
  'max.s32': 0x80000000,
  'max.u32': 0,
}
