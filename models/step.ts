/**
 * What one step of a model computes: tokens of any number of sequences, flattened. A prompt's tokens and a decoding
 * sequence's single token are treated alike; results depend on a token's own context alone.
 */
export interface StepInput {
  /** Token ids. */
  readonly ids: Int32Array
  /** Position of each token in its sequence. */
  readonly positions: Int32Array
  /** Where each token's key and value go: page · 64 + offset. */
  readonly slots: Int32Array
  /** Row of `pages` that belongs to each token's sequence. */
  readonly sequences: Int32Array
  /** Pages of each sequence, `pagesPerSequence` entries a row. */
  readonly pages: Int32Array
  /** The tokens whose logits are wanted, as indices into `ids`. */
  readonly logitRows: Int32Array
}

/** How large steps may become; buffers are allocated for it once. */
export interface StepLimits {
  /** Tokens of one step. */
  readonly tokens: number
  /** Sequences of one step. */
  readonly sequences: number
  /** Pages of one sequence. */
  readonly pagesPerSequence: number
  /** Rows of logits of one step. */
  readonly logitRows: number
}
