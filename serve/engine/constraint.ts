/** What the text of one sequence has to follow, as far as the sequence has come. */
export interface TokenConstraint {
  /** The tokens that may come next: a bit each, the lowest first. */
  readonly mask: Uint32Array
  /**
   * Takes the token that came. The promise is of whether the text is complete, so that nothing may follow; when it is not,
   * `mask` is that of the next token from then on. Rejects when the constraint cannot be followed any further.
   */
  accept(token: number): Promise<'open' | 'complete'>
  /** Frees what it holds. Nothing is accepted any more. */
  close(): void
}
