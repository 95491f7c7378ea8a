import type { Location } from './ir/op.ts'

/** A second place or fact that belongs to a diagnostic: the other side of a conflict, the values in force. */
export interface Note {
  readonly message: string
  readonly location?: Location
}

/** The author's mistake: what is wrong, where, and what to write instead. */
export class Diagnostic extends Error {
  override readonly name = 'Diagnostic'
  /** `E` and four digits; `docs/diagnostics.md` lists them. */
  readonly code: string
  readonly location: Location
  readonly notes: readonly Note[]
  readonly help: string | undefined

  constructor(code: string, message: string, location: Location, notes: readonly Note[] = [], help?: string) {
    super(message)
    this.code = code
    this.location = location
    this.notes = notes
    this.help = help
  }
}

/** The compiler's mistake: an inner rule does not hold. */
export class Bug extends Error {
  override readonly name = 'Bug'
}
