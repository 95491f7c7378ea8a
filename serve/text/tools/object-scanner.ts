/** Told of the values of an object as their text comes in. */
export interface ObjectListener {
  /** A piece of the JSON text of the value of `key`; the last one has `done`. Returns whether the object may go on. */
  onValue(key: string, piece: string, done: boolean): boolean
}

export type ScanState = 'open' | 'closed' | 'invalid'

type Place = 'start' | 'first key' | 'key' | 'in key' | 'colon' | 'value' | 'in value' | 'after value'

const space = /\s/

/**
 * Follows the text of one JSON object character by character and hands out the text of its members. What is nested inside
 * a member is followed by its brackets and strings alone, not checked.
 */
export class ObjectScanner {
  readonly #listener: ObjectListener
  #place: Place = 'start'
  #key = ''
  /** The key so far, quotes included. */
  #keyText = ''
  #escaped = false
  #inString = false
  #depth = 0

  constructor(listener: ObjectListener) {
    this.#listener = listener
  }

  push(character: string): ScanState {
    switch (this.#place) {
      case 'start':
        return this.#expect(character, '{', 'first key')
      case 'first key':
        if (character === '}') return 'closed'
        return this.#beginKey(character)
      case 'key':
        return this.#beginKey(character)
      case 'in key':
        return this.#continueKey(character)
      case 'colon':
        return this.#expect(character, ':', 'value')
      case 'value':
        return this.#beginValue(character)
      case 'in value':
        return this.#continueValue(character)
      case 'after value':
        if (character === '}') return 'closed'
        return this.#expect(character, ',', 'key')
    }
  }

  #expect(character: string, wanted: string, next: Place): ScanState {
    if (space.test(character)) return 'open'
    if (character !== wanted) return 'invalid'
    this.#place = next
    return 'open'
  }

  #beginKey(character: string): ScanState {
    if (space.test(character)) return 'open'
    if (character !== '"') return 'invalid'
    this.#keyText = character
    this.#place = 'in key'
    return 'open'
  }

  #continueKey(character: string): ScanState {
    this.#keyText += character
    if (this.#escaped) this.#escaped = false
    else if (character === '\\') this.#escaped = true
    else if (character === '"') {
      const key = parseString(this.#keyText)
      if (key === undefined) return 'invalid'
      this.#key = key
      this.#place = 'colon'
    }
    return 'open'
  }

  #beginValue(character: string): ScanState {
    if (space.test(character)) return 'open'
    if (/[,:}\]]/.test(character)) return 'invalid'
    this.#place = 'in value'
    this.#depth = 0
    return this.#continueValue(character)
  }

  #continueValue(character: string): ScanState {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false
      else if (character === '\\') this.#escaped = true
      else if (character === '"') {
        this.#inString = false
        return this.#value(character, this.#depth === 0)
      }
      return this.#value(character, false)
    }
    switch (character) {
      case '"':
        this.#inString = true
        break
      case '{':
      case '[':
        this.#depth++
        break
      case '}':
      case ']':
        if (this.#depth === 0) return character === '}' ? this.#endLiteral(character) : 'invalid'
        this.#depth--
        return this.#value(character, this.#depth === 0)
      default:
        if (this.#depth === 0 && (character === ',' || space.test(character)))
          return this.#endLiteral(character)
    }
    return this.#value(character, false)
  }

  /** A number, `true`, `false` or `null` ends where something else begins. */
  #endLiteral(character: string): ScanState {
    const state = this.#value('', true)
    return state === 'open' ? this.push(character) : state
  }

  #value(piece: string, done: boolean): ScanState {
    if (done) this.#place = 'after value'
    return this.#listener.onValue(this.#key, piece, done) ? 'open' : 'invalid'
  }
}

/** The value of a JSON string, `undefined` where the text is none. */
export function parseString(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
