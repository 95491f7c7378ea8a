import { uniform } from '../models/uniform.ts'
import { QuantizeError } from './error.ts'

/** Token ids of calibration text, cut into windows of one length that share no context. */
export interface Calibration {
  /** [windows · window]. */
  readonly ids: Int32Array
  readonly window: number
}

/**
 * The documents of a file: the lines of JSONL (the field `text`, `content` or `prompt`, or a string), or the whole of
 * anything else as one. Throws `QuantizeError` naming the line.
 */
export function readDocuments(path: string, content: string): string[] {
  if (!/\.(jsonl|ndjson)$/.test(path)) return [content]
  return content.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return []
    const fault = (what: string): QuantizeError =>
      new QuantizeError(
        `${path}, line ${i + 1}: ${what}; give one JSON object with a field text on each line`,
      )
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      throw fault('not JSON')
    }
    if (typeof value === 'string') return [value]
    const fields = (value ?? {}) as Record<string, unknown>
    const text = ['text', 'content', 'prompt']
      .map((field) => fields[field])
      .find((x) => typeof x === 'string')
    if (text === undefined) throw fault('no text')
    return [text as string]
  })
}

/**
 * Packs documents into `windows` windows of `window` tokens: in an order drawn by the seed, one after the other, a
 * document going on in the next window. Of one long text, windows are drawn from all over it. Throws `QuantizeError`
 * where the text is too short.
 */
export function packWindows(
  documents: readonly ArrayLike<number>[],
  options: { readonly windows: number; readonly window: number; readonly seed: number },
): Calibration {
  const { windows, window, seed } = options
  const available = documents.reduce((sum, document) => sum + document.length, 0)
  const most = Math.floor(available / window)
  if (most < windows)
    throw new QuantizeError(
      `the calibration text has ${available} tokens, enough for ${most} windows of ${window}, and ${windows} are asked for; ` +
        'give more text, or lower --calibration-windows',
    )
  const next = uniform(seed)
  const pool = new Int32Array(available)
  let end = 0
  for (const document of shuffled(documents, next)) {
    pool.set(Int32Array.from(document), end)
    end += document.length
  }
  // Places for windows lie side by side, so that none is drawn twice.
  const places = shuffled(
    Array.from({ length: most }, (_, i) => i),
    next,
  )
    .slice(0, windows)
    .sort((a, b) => a - b)
  const ids = new Int32Array(windows * window)
  places.forEach((place, i) => {
    ids.set(pool.subarray(place * window, (place + 1) * window), i * window)
  })
  return { ids, window }
}

function shuffled<T>(items: readonly T[], next: () => number): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1))
    ;[result[i], result[j]] = [result[j]!, result[i]!]
  }
  return result
}
