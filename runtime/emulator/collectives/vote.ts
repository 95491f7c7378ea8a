import type { FunctionRef } from '../wasm/function.ts'
import type { ModuleBuilder } from '../wasm/module.ts'

/** Takes the address of a predicate register (a word per lane, true where not zero); gives bit l for lane l. */
export function ballot(m: ModuleBuilder): FunctionRef<readonly ['i32'], readonly ['i32']> {
  return m.routine('ballot', ['i32'], ['i32'], (w) => {
    const bits = (i: number) => {
      const zero = w.i32x4.splat(w.i32.const(0))
      return w.i32x4.bitmask(w.i32x4.ne(w.v128.load(w.get(w.args[0]), i * 16), zero))
    }
    let result = bits(0)
    for (let i = 1; i < 8; i++) result = w.i32.or(result, w.i32.shl(bits(i), w.i32.const(4 * i)))
  })
}

/** Sets the word of each lane in the mask: takes the address of a register, the value and the mask. */
export function broadcast(m: ModuleBuilder): FunctionRef<readonly ['i32', 'i32', 'i32'], readonly []> {
  return m.routine('broadcast', ['i32', 'i32', 'i32'], [], (w) => {
    const [register, value, mask] = w.args
    w.if(
      w.i32.eq(w.get(mask), w.i32.const(-1)),
      () => {
        const all = w.let(w.i32x4.splat(w.get(value)))
        for (let i = 0; i < 8; i++) w.v128.store(w.get(register), w.get(all), i * 16)
      },
      () => {
        for (let lane = 0; lane < 32; lane++)
          w.if(w.i32.and(w.get(mask), w.i32.const(1 << lane)), () =>
            w.i32.store(w.get(register), w.get(value), lane * 4),
          )
      },
    )
  })
}

export type VoteMode = 'all' | 'any' | 'uni' | 'ballot'

/**
 * `vote.sync.MODE`: takes the address of the predicate register and the mask of lanes taking part, and gives what
 * every lane of the mask receives: 0 or 1, or the ballot, where lanes outside the mask count as 0. `negate` is for
 * a source operand `!p`.
 */
export function vote(
  m: ModuleBuilder,
  mode: VoteMode,
  negate = false,
): FunctionRef<readonly ['i32', 'i32'], readonly ['i32']> {
  return m.routine(`vote.${mode}${negate ? '.not' : ''}`, ['i32', 'i32'], ['i32'], (w) => {
    const [predicate, mask] = w.args
    const { i32 } = w
    const raw = w.call(ballot(m), w.get(predicate))
    const votes = w.let(i32.and(negate ? i32.xor(raw, i32.const(-1)) : raw, w.get(mask)))
    const all = () => i32.eq(w.get(votes), w.get(mask))
    if (mode === 'ballot') w.get(votes)
    else if (mode === 'any') i32.ne(w.get(votes), i32.const(0))
    else if (mode === 'all') all()
    else i32.or(all(), i32.eqz(w.get(votes)))
  })
}
