import { z } from 'zod'
import { TextError } from './error.ts'
import { compilePattern } from './oniguruma.ts'

const replaceSchema = z.object({
  type: z.literal('Replace'),
  pattern: z.union([z.strictObject({ Regex: z.string() }), z.strictObject({ String: z.string().min(1) })]),
  content: z.string(),
})

/** Reads the `normalizer` of a `tokenizer.json`. */
export function parseNormalizer(path: string, json: unknown): (text: string) => string {
  if (json == null) return (text) => text
  const form = z.object({ type: z.enum(['NFC', 'NFD', 'NFKC', 'NFKD']) }).safeParse(json)
  if (form.success) return (text) => text.normalize(form.data.type)
  const prepend = z.object({ type: z.literal('Prepend'), prepend: z.string() }).safeParse(json)
  if (prepend.success) return (text) => (text === '' ? '' : prepend.data.prepend + text)
  const replace = replaceSchema.safeParse(json)
  if (replace.success) {
    const { pattern, content } = replace.data
    const from = 'Regex' in pattern ? compilePattern(path, pattern.Regex) : pattern.String
    return (text) => text.replaceAll(from, () => content)
  }
  const sequence = z
    .object({ type: z.literal('Sequence'), normalizers: z.array(z.unknown()) })
    .safeParse(json)
  if (sequence.success) {
    const steps = sequence.data.normalizers.map((step) => parseNormalizer(path, step))
    return (text) => steps.reduce((result, step) => step(result), text)
  }
  throw new TextError(
    `${path}: the normalizer ${JSON.stringify(json).slice(0, 200)} is not supported; ` +
      'NFC, NFD, NFKC, NFKD, Prepend and Replace are',
  )
}
