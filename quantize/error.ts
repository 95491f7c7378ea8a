/** A model that cannot be quantized as asked. The message names the tensor, the fault and the way out. */
export class QuantizeError extends Error {
  override readonly name = 'QuantizeError'
}
