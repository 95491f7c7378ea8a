/** `count` signs ±1 from a 32-bit seed: the top bits of a Weyl sequence behind a mixer (splitmix32). */
export function randomSigns(count: number, seed: number): Float32Array {
  let state = seed | 0
  return Float32Array.from({ length: count }, () => {
    state = (state + 0x9e3779b9) | 0
    let x = state ^ (state >>> 16)
    x = Math.imul(x, 0x21f0aaad)
    x ^= x >>> 15
    x = Math.imul(x, 0x735a2d97)
    x ^= x >>> 15
    return x < 0 ? -1 : 1
  })
}
