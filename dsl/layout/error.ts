/**
 * A layout operation whose precondition does not hold. The message names the operation, every operand and the
 * violated condition; no layout operation returns a wrong layout instead.
 */
export class LayoutError extends Error {
  readonly operation: string
  /** The operands as text; layouts by their id. */
  readonly operands: readonly string[]
  readonly condition: string

  constructor(operation: string, operands: readonly unknown[], condition: string) {
    const texts = operands.map(String)
    super(`${operation}(${texts.join(', ')}): ${condition}`)
    this.name = 'LayoutError'
    this.operation = operation
    this.operands = texts
    this.condition = condition
  }
}

/** Runs `body`; a LayoutError of an inner step is reported as one of the operation that the caller asked for. */
export function during<T>(operation: string, operands: readonly unknown[], body: () => T): T {
  try {
    return body()
  } catch (error) {
    if (error instanceof LayoutError) throw new LayoutError(operation, operands, error.condition)
    throw error
  }
}
