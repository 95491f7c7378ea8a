import type { Location } from './op.ts'

/** What the middle and back end refuse. */
export type RefusalCode = 'E0601' | 'E0602' | 'E0603' | 'E0604' | 'E0605' | 'E0606' | 'E0607' | 'E0608'

export interface RefusalContext {
  readonly location?: Location
  readonly notes?: readonly { readonly message: string; readonly location?: Location }[]
  readonly help?: string
}

/**
 * A kernel author's error that shows only in the IR. It knows lines and columns, not the text around them:
 * `compile.ts`, which has the sources, makes a `Diagnostic` of it.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: RefusalCode
  /** Not named `details`: test runners print an error's property of that name as text. */
  readonly context: RefusalContext

  constructor(code: RefusalCode, sentence: string, context: RefusalContext) {
    super(sentence)
    this.code = code
    this.context = context
  }
}
