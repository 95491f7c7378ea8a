import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { z } from 'zod'

/** A batch file that cannot be run as a whole. The message names the file, the line and the way out. */
export class BatchError extends Error {
  override readonly name = 'BatchError'
}

const batchRoutes = ['/v1/completions', '/v1/chat/completions'] as const

const request = z.object({
  custom_id: z.string().min(1).max(512),
  method: z.literal('POST', { error: 'is POST' }),
  url: z.enum(batchRoutes, { error: `is ${batchRoutes.join(' or ')}` }),
  body: z.record(z.string(), z.unknown(), { error: 'is the body of the request' }),
})

export type BatchRequest = z.infer<typeof request>

/** How the ids of answers begin. */
const ANSWER_ID = 'batch_req_'

/** How every line of an output begins. */
const ANSWER_HEAD = `{"id":"${ANSWER_ID}`

/** The id of a new answer, which stands first in its line. */
export const newAnswerId = (): string => ANSWER_ID + randomBytes(12).toString('hex')

/** One line of a batch file: a request, or what is wrong with it. */
export interface BatchLine {
  /** Its `custom_id`, or `line-N` where it has none. */
  readonly id: string
  readonly request: BatchRequest | undefined
  readonly fault: string | undefined
}

/** The lines of an OpenAI Batch file, empty ones left out. */
export async function* readBatch(path: string): AsyncGenerator<BatchLine> {
  const stream = createReadStream(path, { encoding: 'utf8' })
  let number = 0
  for await (const text of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
    number++
    if (text.trim() !== '') yield parseLine(text, number)
  }
}

function parseLine(text: string, number: number): BatchLine {
  const nameless = `line-${number}`
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return {
      id: nameless,
      request: undefined,
      fault: `line ${number} is not JSON: ${(error as Error).message}`,
    }
  }
  const parsed = request.safeParse(json)
  if (parsed.success) return { id: parsed.data.custom_id, request: parsed.data, fault: undefined }
  const named = z.object({ custom_id: z.string().min(1).max(512) }).safeParse(json)
  const { path, message } = parsed.error.issues[0]!
  const fault = `line ${number}: ${path.length > 0 ? `${path.join('.')} ` : ''}${message}`
  return { id: named.success ? named.data.custom_id : nameless, request: undefined, fault }
}

/** How many lines a batch file has. Throws `BatchError` when two have one `custom_id`. */
export async function countLines(path: string): Promise<number> {
  const seen = new Set<string>()
  for await (const { id } of readBatch(path)) {
    if (seen.has(id))
      throw new BatchError(`${path} has two lines with the custom_id ${JSON.stringify(id)}; rename one`)
    seen.add(id)
  }
  return seen.size
}

/**
 * Makes an output file ready to be gone on with: a last line that was cut off in the middle of writing is taken away.
 * Returns the `custom_id`s that it has. Throws `BatchError` when it is no output of a batch.
 */
export async function resumeOutput(path: string): Promise<Set<string>> {
  const done = new Set<string>()
  const file = await open(path, 'a+')
  try {
    const { size } = await file.stat()
    let number = 0
    let end = 0
    // Bytes, not characters, so that the length of what is kept is exact.
    let rest = Buffer.alloc(0)
    for await (const piece of file.createReadStream({
      start: 0,
      autoClose: false,
    }) as AsyncIterable<Buffer>) {
      let bytes = Buffer.concat([rest, piece])
      for (let newline = bytes.indexOf(10); newline >= 0; newline = bytes.indexOf(10)) {
        number++
        done.add(idOf(path, number, bytes.toString('utf8', 0, newline)))
        bytes = bytes.subarray(newline + 1)
        end += newline + 1
      }
      rest = bytes
    }
    const cutOff = rest.toString('utf8', 0, ANSWER_HEAD.length)
    if (!ANSWER_HEAD.startsWith(cutOff)) throw foreign(path, number + 1)
    if (end < size) await file.truncate(end)
  } finally {
    await file.close()
  }
  return done
}

function idOf(path: string, number: number, line: string): string {
  try {
    return z.object({ custom_id: z.string() }).parse(JSON.parse(line)).custom_id
  } catch {
    throw foreign(path, number)
  }
}

const foreign = (path: string, number: number): BatchError =>
  new BatchError(`line ${number} of ${path} is not the answer of a batch; name another output file`)
