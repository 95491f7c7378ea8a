import { z } from 'zod'
import { escapeRegExp } from './pre-tokenizer.ts'

/** Keeps a hostile id from becoming an allocation; the largest vocabularies have 300,000 entries. */
export const maxTokenId = 2 ** 21 - 1

/** A token that is found in a text by its spelling, whatever stands around it. */
export const addedTokenSchema = z.object({
  id: z.int().nonnegative().max(maxTokenId),
  content: z.string().min(1),
  special: z.boolean().default(false),
  /** It is looked for in the normalized text. */
  normalized: z.boolean().default(false),
  /** It takes the white space before it along. */
  lstrip: z.boolean().default(false),
  /** It takes the white space after it along. */
  rstrip: z.boolean().default(false),
  single_word: z.literal(false, { error: 'single_word is not supported' }).default(false),
})

export type AddedToken = z.infer<typeof addedTokenSchema>

/** Encodes a text; `atStart` says that nothing stands before it. */
export type EncodeText = (dst: number[], text: string, atStart: boolean) => void

/**
 * Cuts added tokens out of a text and gives what lies between to `encodeBetween`. Of tokens that begin at the same
 * place, the longest wins.
 */
export function splitAtTokens(tokens: readonly AddedToken[], encodeBetween: EncodeText): EncodeText {
  if (tokens.length === 0) return encodeBetween
  const byContent = new Map(tokens.map((token) => [token.content, token]))
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length)
  const pattern = new RegExp(longestFirst.map(escapeRegExp).join('|'), 'gu')
  return (dst, text, atStart) => {
    let end = 0
    for (const match of text.matchAll(pattern)) {
      const token = byContent.get(match[0])!
      if (match.index < end) continue
      const between = text.slice(end, match.index)
      const kept = token.lstrip ? between.trimEnd() : between
      if (kept.length > 0) encodeBetween(dst, kept, atStart && end === 0)
      dst.push(token.id)
      end = match.index + match[0].length
      if (token.rstrip) end += text.length - end - text.slice(end).trimStart().length
    }
    if (end < text.length) encodeBetween(dst, text.slice(end), atStart && end === 0)
  }
}
