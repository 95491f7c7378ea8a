import { z } from 'zod'
import { TextError } from './error.ts'
import { compilePattern } from './oniguruma.ts'
import { metaspace } from './sentence-piece.ts'

/** Cuts a text into the pieces that BPE merges within, in order. `atStart` says that nothing stands before the text. */
export type PreTokenizer = (text: string, atStart: boolean) => string[]

/** GPT-2's pattern, which `ByteLevel` applies unless told otherwise. */
const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

const schema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('Split'),
    pattern: z.union([z.strictObject({ Regex: z.string() }), z.strictObject({ String: z.string().min(1) })]),
    behavior: z.enum(['Isolated', 'Removed']),
    invert: z.boolean().default(false),
  }),
  z.object({
    type: z.literal('ByteLevel'),
    add_prefix_space: z.boolean().default(true),
    use_regex: z.boolean().default(true),
  }),
  z.object({ type: z.literal('Digits'), individual_digits: z.boolean().default(false) }),
  z.object({
    type: z.literal('Metaspace'),
    replacement: z.literal(metaspace).default(metaspace),
    prepend_scheme: z.enum(['first', 'always', 'never']).default('always'),
    split: z.boolean().default(true),
  }),
])

type Step = z.infer<typeof schema>

/** Reads the `pre_tokenizer` of a `tokenizer.json`. Throws `TextError` for kinds that BPE does not use. */
export function parsePreTokenizer(path: string, json: unknown): PreTokenizer {
  const steps = json == null ? [] : flatten(json).flatMap((step) => parseStep(path, step) ?? [])
  const [only] = steps
  if (steps.length === 1) return only!
  return (text, atStart) =>
    steps.reduce(
      (pieces, step) => pieces.flatMap((piece, index) => step(piece, atStart && index === 0)),
      [text],
    )
}

function flatten(json: unknown): unknown[] {
  const sequence = z
    .object({ type: z.literal('Sequence'), pretokenizers: z.array(z.unknown()) })
    .safeParse(json)
  return sequence.success ? sequence.data.pretokenizers.flatMap(flatten) : [json]
}

function parseStep(path: string, json: unknown): PreTokenizer | undefined {
  const parsed = schema.safeParse(json)
  if (!parsed.success)
    throw new TextError(
      `${path}: the pre_tokenizer ${JSON.stringify(json)?.slice(0, 200)} is not supported; ` +
        'Split, Digits, ByteLevel and Metaspace are',
    )
  return compileStep(path, parsed.data)
}

/** A step that cuts nothing and changes nothing is none. */
function compileStep(path: string, step: Step): PreTokenizer | undefined {
  switch (step.type) {
    case 'Split': {
      const pattern =
        'Regex' in step.pattern
          ? compilePattern(path, step.pattern.Regex)
          : new RegExp(escapeRegExp(step.pattern.String), 'gu')
      if (step.behavior === 'Isolated') return (text) => isolate(text, pattern)
      return (text) => cut(text, pattern, step.invert, !step.invert)
    }
    case 'Digits': {
      const pattern = step.individual_digits ? /\p{N}/gu : /\p{N}+/gu
      return (text) => isolate(text, pattern)
    }
    case 'ByteLevel': {
      if (!step.add_prefix_space && !step.use_regex) return undefined
      const pattern = step.use_regex ? compilePattern(path, gpt2Pattern) : undefined
      return (text) => {
        const prefixed = step.add_prefix_space && !text.startsWith(' ') ? ` ${text}` : text
        return pattern ? isolate(prefixed, pattern) : [prefixed]
      }
    }
    case 'Metaspace':
      return (text, atStart) => {
        const replaced = text.replaceAll(' ', metaspace)
        const prepends = step.prepend_scheme === 'always' || (step.prepend_scheme === 'first' && atStart)
        const prefixed = prepends && !replaced.startsWith(metaspace) ? metaspace + replaced : replaced
        return step.split ? prefixed.match(/▁[^▁]*|[^▁]+/gu)! : [prefixed]
      }
  }
}

/** The matches of a pattern and the texts between them, in order. */
function isolate(text: string, pattern: RegExp): string[] {
  // Most patterns leave nothing between, and this is the quickest way to get all matches of one.
  const matches: string[] = text.match(pattern) ?? []
  let length = 0
  for (const match of matches) length += match.length
  return length === text.length && !matches.includes('') ? matches : cut(text, pattern, true, true)
}

/** The matches of a pattern, the texts between them, or both, in order and without empty ones. */
function cut(text: string, pattern: RegExp, matches: boolean, gaps: boolean): string[] {
  const pieces: string[] = []
  let end = 0
  for (const match of text.matchAll(pattern)) {
    if (gaps && match.index > end) pieces.push(text.slice(end, match.index))
    if (matches && match[0].length > 0) pieces.push(match[0])
    end = match.index + match[0].length
  }
  if (gaps && end < text.length) pieces.push(text.slice(end))
  return pieces
}

/** A pattern that matches exactly this text, under the flag `u`. */
export function escapeRegExp(text: string): string {
  return text.replace(/[\^$\\.*+?()[\]{}|/]/g, '\\$&')
}
