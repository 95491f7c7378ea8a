/** Writes messages of protocol buffers, as far as models of SentencePiece need it. */

export const varint = (value: number): number[] => {
  const bytes: number[] = []
  for (; value >= 0x80; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80)
  return [...bytes, value]
}

const tag = (number: number, wire: number) => varint(8 * number + wire)
export const numberField = (number: number, value: number) => [...tag(number, 0), ...varint(value)]
export const bytesField = (number: number, bytes: readonly number[]) => [
  ...tag(number, 2),
  ...varint(bytes.length),
  ...bytes,
]
const floatField = (number: number, value: number) => [
  ...tag(number, 5),
  ...new Uint8Array(Float32Array.of(value).buffer),
]

export interface ModelPiece {
  readonly text: string
  readonly score: number
  readonly kind: number
}

/** A `tokenizer.model` of a BPE that leaves texts as they are but for the space before them. */
export function sentencePieceModel(
  pieces: readonly ModelPiece[],
  { type = 2, removes = 0 }: { type?: number; removes?: number } = {},
): Uint8Array {
  const entries = pieces.flatMap(({ text, score, kind }) =>
    bytesField(1, [
      ...bytesField(1, [...Buffer.from(text)]),
      ...floatField(2, score),
      ...numberField(3, kind),
    ]),
  )
  const trainer = bytesField(2, [...numberField(3, type), ...numberField(41, 1), ...numberField(42, 2)])
  const normalizer = bytesField(3, [
    ...bytesField(1, [...Buffer.from('identity')]),
    ...numberField(3, 1),
    ...numberField(4, removes),
  ])
  return Uint8Array.from([...entries, ...trainer, ...normalizer])
}
