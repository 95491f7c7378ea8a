/** A quantized matrix as plain arrays, one code to an element. Packing is the number format's business. */
export interface QuantizedMatrix {
  readonly rows: number
  readonly columns: number
  /** [rows, columns]: 0 to 15, or −127 to 127. */
  readonly codes: Uint8Array | Int8Array
  /** [rows], the bits of f16 scales; [rows, columns / group] in formats of one level with groups. */
  readonly scale: Uint16Array
  /** The code that stands for 0, in formats that have one: as many as scales. */
  readonly zero?: Uint8Array
  /** [rows, columns / group], the second-level scale, 1 to 16, in formats with groups. */
  readonly groupScale?: Uint8Array
  /** [rows, columns / group], the level-1 code that code 0 stands for, in formats with groups. */
  readonly groupMin?: Int8Array
}

/** One matrix with the rows of all, in order. */
export function stackRows(parts: readonly QuantizedMatrix[]): QuantizedMatrix {
  const [first] = parts as readonly [QuantizedMatrix]
  const stack = <T extends Uint8Array | Int8Array | Uint16Array>(arrays: readonly T[]): T => {
    const stacked = new (arrays[0]!.constructor as new (length: number) => T)(
      arrays.reduce((length, array) => length + array.length, 0),
    )
    let start = 0
    for (const array of arrays) {
      stacked.set(array, start)
      start += array.length
    }
    return stacked
  }
  return {
    rows: parts.reduce((rows, part) => rows + part.rows, 0),
    columns: first.columns,
    codes: stack(parts.map((part) => part.codes)),
    scale: stack(parts.map((part) => part.scale)),
    ...(first.zero && { zero: stack(parts.map((part) => part.zero!)) }),
    ...(first.groupScale && { groupScale: stack(parts.map((part) => part.groupScale!)) }),
    ...(first.groupMin && { groupMin: stack(parts.map((part) => part.groupMin!)) }),
  }
}
