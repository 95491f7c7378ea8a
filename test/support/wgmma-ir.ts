/** Lines of IR around `wgmma`s of 8 columns, as `printIr` writes them. */

/** Registers from %`first` on with the type of an accumulator. */
const accumulators = (first: number): number[] => [0, 1, 2, 3].map((i) => first + i)

/** Accumulators from %`first` on, set to zero. */
export const zeroed = (first: number): string =>
  accumulators(first)
    .map((id) => `%${id}: i32 = move 0:i32`)
    .join('\n')

/** A's registers from %`first` on, loaded. */
export const loaded = (first: number): string =>
  `%${first}: u32, %${first + 1}: u32, %${first + 2}: u32, %${first + 3}: u32 = load space=global %0`

/** A product of A in registers from %`a` on, added to accumulators from %`acc` on; the descriptor is 7. */
export const wgmma = (acc: number, a: number): string => {
  const sums = accumulators(acc)
  const results = sums.map((id) => `%${id}: i32`).join(', ')
  const fragments = [0, 1, 2, 3].map((i) => `%${a + i}`)
  const args = ['1:bool', '7:u64', ...fragments, ...sums.map((id) => `%${id}`)]
  return `${results} = wgmma atom=m64n8k32.u8s8 a=registers ${args.join(', ')}`
}
