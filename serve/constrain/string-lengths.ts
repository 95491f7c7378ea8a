import type { StringCount } from './grammar.ts'
import { plainMark } from './json-text.ts'

/** Tells what may come next, and forgets again what it was asked with. */
export interface Prober {
  /** Whether a text may come next. */
  accepts(text: string): boolean
}

const quote = 0x22
const backslash = 0x5c

/** What the bytes of a token do to strings of JSON. */
interface TokenShape {
  /** Characters that begin before the quote that ends the string which the token begins in. */
  readonly inside: number
  /** Whether it has that quote. */
  readonly closes: boolean
  /** Whether a string that it begins, in or behind another, is begun by its last byte. */
  readonly opensLast: readonly [whenOutside: boolean, whenInside: boolean]
}

/**
 * The lengths of strings are not a matter of the grammar: counting in it would take a state for each character, and each
 * state a look at each token. Instead the tokens that would make a string too long, or end it too early, are taken out of
 * what the grammar allows. Strings begin at the ends of tokens, so that it is known before their first characters which of
 * them are counted.
 */
export class StringLengths {
  readonly #shapes: readonly TokenShape[]
  readonly #bytesOf: (token: number) => Uint8Array
  /** Tokens that may come at a place, by what that depends on. */
  readonly #masks = new Map<string, Uint32Array>()

  constructor(vocabSize: number, bytesOf: (token: number) => Uint8Array) {
    this.#bytesOf = bytesOf
    this.#shapes = Array.from({ length: vocabSize }, (_, token) => shapeOf(bytesOf(token)))
  }

  /** Follows one text. */
  follow(counts: readonly StringCount[]): FollowedLengths {
    return new FollowedLengths(this, counts)
  }

  bytesOf(token: number): Uint8Array {
    return this.#bytesOf(token)
  }

  /** Tokens that may come outside of strings. */
  get outside(): Uint32Array {
    return this.#mask('outside', ({ opensLast }) => opensLast[0])
  }

  /** Tokens that may come in a string which wants `least` more characters and takes `most`. */
  inside(least: number, most: number): Uint32Array {
    const [low, high] = [Math.min(least, longest), Math.min(most, longest)]
    return this.#mask(
      `${low} ${high}`,
      ({ inside, closes, opensLast }) => opensLast[1] && inside <= high && !(closes && inside < low),
    )
  }

  /** Tokens that may come within an escape: its next byte. */
  get escaped(): Uint32Array {
    return this.#mask('escaped', (_, token) => this.#bytesOf(token).length === 1)
  }

  #mask(key: string, may: (shape: TokenShape, token: number) => boolean): Uint32Array {
    let mask = this.#masks.get(key)
    if (mask === undefined) {
      mask = new Uint32Array(Math.ceil(this.#shapes.length / 32))
      // Tokens without bytes, such as that of the end, are none of its business.
      for (const [token, shape] of this.#shapes.entries())
        if (this.#bytesOf(token).length === 0 || may(shape, token)) mask[token >> 5]! |= 1 << (token & 31)
      this.#masks.set(key, mask)
    }
    return mask
  }
}

/** No token has more characters. */
const longest = 256

function shapeOf(bytes: Uint8Array): TokenShape {
  const place = { inString: true, escaped: false }
  let inside = 0
  let closes = false
  for (const byte of bytes) {
    if (!closes && byte !== quote && !place.escaped && !isContinuation(byte)) inside++
    step(place, byte)
    if (!place.inString) closes = true
  }
  return { inside, closes, opensLast: [opensLast(bytes, false), opensLast(bytes, true)] }
}

function opensLast(bytes: Uint8Array, inString: boolean): boolean {
  const place = { inString, escaped: false }
  for (const [i, byte] of bytes.entries()) {
    const before = place.inString
    step(place, byte)
    if (place.inString && !before && i < bytes.length - 1) return false
  }
  return true
}

const isContinuation = (byte: number): boolean => (byte & 0xc0) === 0x80

function step(place: { inString: boolean; escaped: boolean }, byte: number): void {
  if (place.escaped) place.escaped = false
  else if (byte === quote) place.inString = !place.inString
  else if (byte === backslash && place.inString) place.escaped = true
}

/** Where one text is, and how long its present string may be. */
export class FollowedLengths {
  readonly #lengths: StringLengths
  readonly #counts: readonly StringCount[]
  readonly #place = { inString: false, escaped: false }
  /** Digits of an escape that are to come. */
  #digits = 0
  /** Characters of the present string. */
  #count = 0
  #limits: { least: number; most: number } | undefined
  /** Whether a string has just begun. */
  #begun = false

  constructor(lengths: StringLengths, counts: readonly StringCount[]) {
    this.#lengths = lengths
    this.#counts = counts
  }

  /** Takes a token; `prober` knows the text with it. */
  take(token: number, prober: Prober): void {
    for (const byte of this.#lengths.bytesOf(token)) this.#take(byte)
    if (!this.#begun) return
    this.#begun = false
    this.#limits = this.#limitsHere(prober)
  }

  /** Takes out of the tokens that the grammar allows those that would make a string too long or too short. */
  restrict(mask: Uint32Array): void {
    const { inString, escaped } = this.#place
    const { least = 0, most = Number.MAX_SAFE_INTEGER } = this.#limits ?? {}
    const allowed = !inString
      ? this.#lengths.outside
      : escaped || this.#digits > 0
        ? this.#lengths.escaped
        : this.#lengths.inside(Math.max(0, least - this.#count), most - this.#count)
    for (let i = 0; i < mask.length; i++) mask[i]! &= allowed[i]!
  }

  #take(byte: number): void {
    const before = { ...this.#place }
    step(this.#place, byte)
    if (!before.inString && this.#place.inString) {
      this.#begun = true
      this.#count = 0
      return
    }
    if (!this.#place.inString) {
      this.#limits = undefined
      return
    }
    if (before.escaped) this.#digits = byte === 0x75 ? 4 : 0
    else if (this.#digits > 0) this.#digits--
    else if (!isContinuation(byte)) this.#count++
  }

  /** How long a string may be that has just begun: where it could be any of several, what the loosest of them allows. */
  #limitsHere(prober: Prober): { least: number; most: number } | undefined {
    if (prober.accepts(plainMark)) return undefined
    const found = this.#counts.filter(({ mark }) => prober.accepts(mark))
    if (found.length === 0) return undefined
    return {
      least: Math.min(...found.map(({ least }) => least)),
      most: Math.max(...found.map(({ most }) => most)),
    }
  }
}
