import type { ChoiceToken } from '../completion/choice.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { ChatLogProb, ChatLogProbs } from './schemas/chat.ts'
import type { CompletionLogProbs } from './schemas/completion.ts'

/** The least that JSON can carry of a probability of nothing. */
const least = -9999

const finite = (logProb: number): number => Math.max(least, logProb)

/** A token as text; bytes that are no whole characters are spelled `bytes:\xe2\x98`. */
export function tokenText(tokenizer: Tokenizer, id: number): string {
  const bytes = tokenizer.bytesOf(id)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`
  }
}

function chatLogProb(tokenizer: Tokenizer, id: number, logProb: number): ChatLogProb {
  return { token: tokenText(tokenizer, id), logprob: finite(logProb), bytes: [...tokenizer.bytesOf(id)] }
}

/** Log-probabilities as `/v1/chat/completions` tells them. */
export function chatLogProbs(tokenizer: Tokenizer, tokens: readonly ChoiceToken[]): ChatLogProbs {
  return {
    content: tokens.flatMap(({ id, logProbs }) =>
      logProbs
        ? {
            ...chatLogProb(tokenizer, id, logProbs.chosen),
            top_logprobs: logProbs.top.map((top) => chatLogProb(tokenizer, top.id, top.logProb)),
          }
        : [],
    ),
    refusal: null,
  }
}

/** Log-probabilities as `/v1/completions` tells them; `offset` is the length of the tokens' texts before these. */
export function completionLogProbs(
  tokenizer: Tokenizer,
  tokens: readonly ChoiceToken[],
  offset: number,
): CompletionLogProbs {
  const told = tokens.flatMap(({ id, logProbs }) =>
    logProbs ? { text: tokenText(tokenizer, id), logProbs } : [],
  )
  let next = offset
  return {
    tokens: told.map(({ text }) => text),
    token_logprobs: told.map(({ logProbs }) => finite(logProbs.chosen)),
    top_logprobs: told.map(({ logProbs }) =>
      Object.fromEntries(logProbs.top.map(({ id, logProb }) => [tokenText(tokenizer, id), finite(logProb)])),
    ),
    text_offset: told.map(({ text }) => {
      const at = next
      next += text.length
      return at
    }),
  }
}
