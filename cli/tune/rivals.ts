import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { UsageError } from '../failure.ts'

const rival = z.object({
  name: z.string().min(1),
  N: z.number().int().positive(),
  K: z.number().int().positive(),
  M: z.number().int().positive(),
  us: z.number().positive(),
})

/** The time of another's kernel for a product. */
export type Rival = z.infer<typeof rival>

/** Reads times of other kernels. Throws `UsageError` for a file of another form. */
export function readRivals(path: string): Rival[] {
  const text = readFileSync(path, 'utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`${path} is not JSON: ${(error as Error).message}`)
  }
  const parsed = z.array(rival).safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new UsageError(
    `${path} is no list of rivals: ${issue!.path.join('.') || 'the whole'}: ${issue!.message}; ` +
      'write [{"name": "cuBLAS fp8", "N": 4096, "K": 4096, "M": 16, "us": 7.5}]',
  )
}
