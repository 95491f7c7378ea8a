import type { FunctionBuilder, FunctionRef, Local } from '../wasm/function.ts'
import type { ModuleBuilder } from '../wasm/module.ts'
import type { I32 } from '../wasm/operations.ts'

export type ShuffleMode = 'up' | 'down' | 'bfly' | 'idx'

/** Where `shfl.sync` reads from for one lane: PTX manual, "Data Movement: shfl.sync", semantics. */
function sourceLane(
  mode: ShuffleMode,
  lane: number,
  b: number,
  c: number,
): { readonly source: number; readonly inRange: boolean } {
  const segment = (c >> 8) & 0x1f
  const clamp = c & 0x1f
  const offset = b & 0x1f
  const minLane = lane & segment
  const maxLane = minLane | (clamp & ~segment)
  const j =
    mode === 'up'
      ? lane - offset
      : mode === 'down'
        ? lane + offset
        : mode === 'bfly'
          ? lane ^ offset
          : minLane | (offset & ~segment)
  const inRange = mode === 'up' ? j >= maxLane : j <= maxLane
  return { source: inRange ? j : lane, inRange }
}

/**
 * `shfl.sync.MODE.b32 d, a, b, c` with constant b and c and all 32 lanes taking part: takes the addresses of the
 * registers d and a, which may be the same, and of the predicate p where `predicate` is set (words 0 or 1).
 */
export function shuffleConstant(
  m: ModuleBuilder,
  mode: ShuffleMode,
  b: number,
  c: number,
  predicate = false,
): FunctionRef {
  const name = `shfl.${mode}.${b & 0x1f}.${c & 0x1f1f}${predicate ? '.p' : ''}`
  return m.routine(name, predicate ? ['i32', 'i32', 'i32'] : ['i32', 'i32'], [], (w) => {
    const [d, a, p] = w.args as readonly Local<'i32'>[]
    const lanes = Array.from({ length: 32 }, (_, lane) => sourceLane(mode, lane, b, c))
    const vectors = Array.from({ length: 8 }, (_, i) => w.let(w.v128.load(w.get(a!), i * 16)))
    for (let i = 0; i < 8; i++) {
      const sources = lanes.slice(4 * i, 4 * i + 4).map(({ source }) => source)
      w.v128.store(w.get(d!), gatherWords(w, vectors, sources), i * 16)
      if (!p) continue
      const flags = lanes.slice(4 * i, 4 * i + 4).flatMap(({ inRange }) => [inRange ? 1 : 0, 0, 0, 0])
      w.v128.store(w.get(p), w.v128.const(flags), i * 16)
    }
  })
}

/** A vector of the words `sources` of the register held in `vectors`. */
function gatherWords(w: FunctionBuilder, vectors: readonly Local<'v128'>[], sources: readonly number[]) {
  const [first, ...others] = [...new Set(sources.map((source) => source >> 2))]
  const bytes = (from: number) => [0, 1, 2, 3].map((byte) => (from & 3) * 4 + byte)
  // First all words from the first vector, then one more vector's words merged into their places at a time.
  let result = w.i8x16.shuffle(w.get(vectors[first!]!), w.get(vectors[first!]!), sources.flatMap(bytes))
  for (const vector of others) {
    const lanes = sources.flatMap((source, i) =>
      source >> 2 === vector ? bytes(source).map((byte) => byte + 16) : bytes(i),
    )
    result = w.i8x16.shuffle(result, w.get(vectors[vector]!), lanes)
  }
  return result
}

/**
 * `shfl.sync.MODE.b32 d|p, a, b, c` in general: takes the addresses of the registers d, a and b (which may overlap),
 * the value of c, the lanes taking part as a bit mask, and the address of the register p where `predicate` is set.
 * Lanes outside the mask keep d and p. Reading a lane outside the mask gives what its register holds.
 */
export function shuffle(m: ModuleBuilder, mode: ShuffleMode, predicate = false): FunctionRef {
  const params = ['i32', 'i32', 'i32', 'i32', 'i32', ...(predicate ? (['i32'] as const) : [])] as 'i32'[]
  return m.routine(`shfl.${mode}${predicate ? '.p' : ''}`, params, [], (w) => {
    const [d, a, b, c, mask, p] = w.args as readonly Local<'i32'>[]
    const { i32 } = w
    // All lanes read before any writes, for d may be a or b.
    const notSegment = w.let(
      i32.xor(i32.and(i32.shr_u(w.get(c!), i32.const(8)), i32.const(31)), i32.const(31)),
    )
    const results = Array.from({ length: 32 }, (_, lane) => {
      const offset = (): I32 => i32.and(i32.load(w.get(b!), lane * 4), i32.const(31))
      const minLane = w.let(i32.and(i32.const(lane), i32.xor(w.get(notSegment), i32.const(31))))
      const maxLane = w.let(
        i32.or(w.get(minLane), i32.and(i32.and(w.get(c!), i32.const(31)), w.get(notSegment))),
      )
      const j = w.let(
        mode === 'up'
          ? i32.sub(i32.const(lane), offset())
          : mode === 'down'
            ? i32.add(i32.const(lane), offset())
            : mode === 'bfly'
              ? i32.xor(i32.const(lane), offset())
              : i32.or(w.get(minLane), i32.and(offset(), w.get(notSegment))),
      )
      const inRange = w.let(
        mode === 'up' ? i32.ge_s(w.get(j), w.get(maxLane)) : i32.le_s(w.get(j), w.get(maxLane)),
      )
      const source = w.select(w.get(j), i32.const(lane), w.get(inRange))
      const value = w.let(i32.load(i32.add(i32.shl(source, i32.const(2)), w.get(a!))))
      w.release(minLane, maxLane, j)
      return { value, inRange }
    })
    results.forEach(({ value, inRange }, lane) => {
      w.if(i32.and(w.get(mask!), i32.const(1 << lane)), () => {
        i32.store(w.get(d!), w.get(value), lane * 4)
        if (p) i32.store(w.get(p), w.get(inRange), lane * 4)
      })
    })
  })
}
