/** A tokenizer or chat template that cannot be used. The message names the file, the fault and the way out. */
export class TextError extends Error {
  override readonly name = 'TextError'
}
