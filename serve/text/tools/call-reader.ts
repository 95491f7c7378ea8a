import { type ObjectListener, ObjectScanner, parseString, type ScanState } from './object-scanner.ts'

/** Told of a call as it is read. */
export interface CallListener {
  /** Returns whether a call of that name is one. */
  onName(name: string): boolean
  onArguments(text: string): void
}

/**
 * Reads `{"name": …, "arguments": …}` (Llama says `parameters`) as it comes. Arguments that come before the name wait for
 * it; those in a string, as some models write them, are taken out of it; those that are missing are `{}`.
 */
export class CallReader implements ObjectListener {
  readonly #listener: CallListener
  readonly #scanner = new ObjectScanner(this)
  #nameText = ''
  #named = false
  /** Arguments that wait for the name, or for the end of their string. */
  #waiting = ''
  /** The first character of the arguments. */
  #kind = ''
  #argumentsDone = false

  constructor(listener: CallListener) {
    this.#listener = listener
  }

  /** Whether name and arguments have been read to their ends. */
  get complete(): boolean {
    return this.#named && this.#argumentsDone
  }

  push(character: string): ScanState {
    const state = this.#scanner.push(character)
    if (state !== 'closed') return state
    if (!this.#named) return 'invalid'
    if (!this.#argumentsDone) this.#listener.onArguments('{}')
    return 'closed'
  }

  onValue(key: string, piece: string, done: boolean): boolean {
    if (key === 'name' && !this.#named) return this.#readName(piece, done)
    if ((key === 'arguments' || key === 'parameters') && !this.#argumentsDone)
      return this.#readArguments(piece, done)
    return true
  }

  #readName(piece: string, done: boolean): boolean {
    this.#nameText += piece
    if (!done) return true
    const name = parseString(this.#nameText)
    if (!name || !this.#listener.onName(name)) return false
    this.#named = true
    this.#release()
    return true
  }

  #readArguments(piece: string, done: boolean): boolean {
    if (this.#kind === '') this.#kind = piece[0] ?? ''
    this.#waiting += piece
    this.#argumentsDone = done
    if (done && this.#kind !== '{') {
      const text =
        this.#kind === '"' ? parseString(this.#waiting) : this.#waiting === 'null' ? '{}' : undefined
      if (text === undefined) return false
      this.#waiting = text
    }
    if (this.#named && (done || this.#kind === '{')) this.#release()
    return true
  }

  #release(): void {
    if (this.#waiting !== '') this.#listener.onArguments(this.#waiting)
    this.#waiting = ''
  }
}
