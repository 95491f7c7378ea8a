import { z } from 'zod'
import { TextError } from './error.ts'

/** Reads the `normalizer` of a `tokenizer.json`. */
export function parseNormalizer(path: string, json: unknown): (text: string) => string {
  if (json == null) return (text) => text
  const form = z.object({ type: z.enum(['NFC', 'NFD', 'NFKC', 'NFKD']) }).safeParse(json)
  if (form.success) return (text) => text.normalize(form.data.type)
  const sequence = z
    .object({ type: z.literal('Sequence'), normalizers: z.array(z.unknown()) })
    .safeParse(json)
  if (sequence.success) {
    const steps = sequence.data.normalizers.map((step) => parseNormalizer(path, step))
    return (text) => steps.reduce((result, step) => step(result), text)
  }
  throw new TextError(
    `${path}: the normalizer ${JSON.stringify(json).slice(0, 200)} is not supported; NFC, NFD, NFKC and NFKD are`,
  )
}
