import { type FileHandle, open } from 'node:fs/promises'
import {
  BatchError,
  type BatchLine,
  type BatchRequest,
  countLines,
  newAnswerId,
  readBatch,
  resumeOutput,
} from './batch-file.ts'

/** An answer to one request. */
export interface BatchAnswer {
  readonly status: number
  readonly requestId: string
  readonly body: unknown
}

export interface BatchOptions {
  /** Requests at a time. */
  readonly concurrency: number
  readonly answer: (request: BatchRequest) => Promise<BatchAnswer>
  /** Called after each line, with those that were done before counted in. */
  readonly onProgress?: (done: number, total: number) => void
}

export interface BatchResult {
  readonly total: number
  /** Lines that had been done before. */
  readonly resumed: number
  /** Lines whose answer is an error, of those done now. */
  readonly failed: number
}

/**
 * Answers the requests of a batch file that its output file does not have yet, in any order. Each answer is one write at
 * the end of the output, so that a batch that was killed goes on where it was: no line is lost and none comes twice. An
 * answer that is the server's failure is not written; the batch ends with it.
 */
export async function runBatch(input: string, output: string, options: BatchOptions): Promise<BatchResult> {
  const total = await countLines(input)
  const done = await resumeOutput(output)
  const resumed = done.size
  const file = await open(output, 'a')
  let failed = 0
  let count = resumed
  options.onProgress?.(count, total)
  const lines = readBatch(input)
  const work = async () => {
    for await (const line of shared(lines)) {
      if (done.has(line.id)) continue
      if (!(await answerLine(file, line, options.answer))) failed++
      options.onProgress?.(++count, total)
    }
  }
  try {
    await allOrFirstError(Array.from({ length: options.concurrency }, work))
  } finally {
    await lines.return(undefined)
    await file.close()
  }
  return { total, resumed, failed }
}

/** One iterator for several loops, none of which ends it. */
function shared<T>(iterator: AsyncIterator<T>): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) }
}

/** Waits for all, so that nothing is written after the file is closed; then throws what went wrong first. */
async function allOrFirstError(promises: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(promises))
    if (outcome.status === 'rejected') throw outcome.reason
}

/** Writes the answer of one line; returns whether it is no error. */
async function answerLine(
  file: FileHandle,
  { id, request, fault }: BatchLine,
  answer: BatchOptions['answer'],
): Promise<boolean> {
  const head = { id: newAnswerId(), custom_id: id }
  if (request === undefined) {
    const error = { code: 'invalid_request', message: fault }
    await file.appendFile(`${JSON.stringify({ ...head, response: null, error })}\n`)
    return false
  }
  const { status, requestId, body } = await answer(request)
  if (status >= 500 || status === 429)
    throw new BatchError(
      `the server failed at ${JSON.stringify(id)} with status ${status}; run the command again to go on`,
    )
  const response = { status_code: status, request_id: requestId, body }
  await file.appendFile(`${JSON.stringify({ ...head, response, error: null })}\n`)
  return status < 400
}
