import { z } from 'zod'
import { TextError } from './error.ts'

const templateSchema = z.object({
  type: z.literal('TemplateProcessing'),
  single: z.array(
    z.union([
      z.object({ SpecialToken: z.object({ id: z.string() }) }),
      z.object({ Sequence: z.object({ id: z.literal('A') }) }),
    ]),
  ),
  special_tokens: z.record(z.string(), z.object({ ids: z.array(z.int().nonnegative()) })),
})

/** Reads the `post_processor` of a `tokenizer.json`: the ids that go before and after every text. */
export function parsePostProcessor(
  path: string,
  json: unknown,
): { before: readonly number[]; after: readonly number[] } {
  const nothing = { before: [], after: [] }
  if (json == null || z.object({ type: z.literal('ByteLevel') }).safeParse(json).success) return nothing
  const sequence = z.object({ type: z.literal('Sequence'), processors: z.array(z.unknown()) }).safeParse(json)
  if (sequence.success)
    return sequence.data.processors
      .map((step) => parsePostProcessor(path, step))
      .reduce(
        (sum, step) => ({ before: [...step.before, ...sum.before], after: [...sum.after, ...step.after] }),
        nothing,
      )
  const template = templateSchema.safeParse(json)
  if (!template.success)
    throw new TextError(
      `${path}: the post_processor ${JSON.stringify(json).slice(0, 200)} is not supported; TemplateProcessing is`,
    )
  const { single, special_tokens: specials } = template.data
  const place = single.findIndex((part) => 'Sequence' in part)
  if (place < 0) throw new TextError(`${path}: its template does not hold the text; download the file again`)
  const idsOf = (parts: typeof single): number[] =>
    parts.flatMap((part) => {
      if ('Sequence' in part) throw new TextError(`${path}: its template holds the text more than once`)
      const ids = specials[part.SpecialToken.id]?.ids
      if (ids === undefined)
        throw new TextError(`${path}: its template names ${part.SpecialToken.id} and gives no id`)
      return ids
    })
  return { before: idsOf(single.slice(0, place)), after: idsOf(single.slice(place + 1)) }
}
