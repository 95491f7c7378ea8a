/** What a text is to follow makes no sense, or more than is supported. The message says where, and what to do. */
export class ConstraintError extends Error {
  override readonly name = 'ConstraintError'
}
