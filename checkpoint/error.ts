/** A checkpoint that cannot be read or written. The message names the file, the tensor, the fault and the way out. */
export class CheckpointError extends Error {
  override readonly name = 'CheckpointError'
}
