/** What all benches of attention measure: the heads of Llama 3 8B, and no window. */
export const heads = { Hq: 32, Hkv: 8, D: 128 } as const
export const dtype = 'f16'
export const NO_WINDOW = 2 ** 30
