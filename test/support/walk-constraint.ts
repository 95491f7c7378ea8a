import type { TokenConstraint } from '../../serve/engine/constraint.ts'
import type { Tokenizer } from '../../serve/text/tokenizer.ts'

export const isAllowed = ({ mask }: TokenConstraint, token: number): boolean =>
  ((mask[token >> 5]! >>> (token & 31)) & 1) === 1

/**
 * Draws tokens that a constraint allows until its text is complete, or `most` have come; from the thirtieth on those that
 * close something are taken first. Returns the text, and whether it is complete.
 */
export async function walkConstraint(
  constraint: TokenConstraint,
  tokenizer: Tokenizer,
  endId: number,
  random: () => number,
  most = 400,
): Promise<{ text: string; complete: boolean }> {
  const closing = Array.from('"}]', (character) => tokenizer.encode(character, { addSpecial: false })[0]!)
  const tokens: number[] = []
  const done = (complete: boolean) => ({ text: tokenizer.decode(tokens), complete })
  while (tokens.length < most) {
    const allowed: number[] = []
    for (let token = 0; token < tokenizer.vocabSize; token++)
      if (isAllowed(constraint, token)) allowed.push(token)
    const ends = tokens.length > 30 ? [endId, ...closing].filter((token) => allowed.includes(token)) : []
    const choices = ends.length > 0 ? ends : allowed
    const token = choices[Math.floor(random() * choices.length)]!
    if (token === endId) return done(true)
    tokens.push(token)
    if ((await constraint.accept(token)) === 'complete') return done(true)
  }
  return done(false)
}

/** Whether a constraint takes a text, byte by byte. */
export async function takesText(
  constraint: TokenConstraint,
  text: string,
  tokenOfByte: (byte: number) => number,
  endId: number,
): Promise<boolean> {
  let state: 'open' | 'complete' = 'open'
  for (const byte of Buffer.from(text)) {
    const token = tokenOfByte(byte)
    if (state === 'complete' || !isAllowed(constraint, token)) return false
    state = await constraint.accept(token)
  }
  return state === 'complete' || isAllowed(constraint, endId)
}
