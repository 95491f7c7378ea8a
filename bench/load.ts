import { request } from 'node:http'

/** One request, as its client saw it; times in milliseconds from the moment when it should have been sent. */
export interface LoadSample {
  readonly firstToken: number
  readonly end: number
  /** Tokens that the answer counts. */
  readonly tokens: number
}

export interface LoadOptions {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** The body of the i-th request, a streamed completion with its usage. */
  readonly body: (index: number) => string
  /** Moments to send requests at, in milliseconds from the start, rising. */
  readonly arrivals: readonly number[]
}

/**
 * Sends requests when it is their time, whether those before have been answered or not (open loop), and returns what came of
 * each. A request that is refused or breaks off is an error.
 */
export async function runLoad(options: LoadOptions): Promise<{ samples: LoadSample[]; errors: string[] }> {
  const start = performance.now()
  const errors: string[] = []
  const samples: LoadSample[] = []
  await Promise.all(
    options.arrivals.map(async (at, index) => {
      await new Promise((resolve) => setTimeout(resolve, at))
      try {
        samples.push(await sendOne(options, index, start + at))
      } catch (error) {
        errors.push((error as Error).message)
      }
    }),
  )
  return { samples, errors }
}

function sendOne({ url, headers, body }: LoadOptions, index: number, due: number): Promise<LoadSample> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', headers, agent: false }, (response) => {
      let firstToken: number | undefined
      let text = ''
      response.setEncoding('utf8').on('data', (piece: string) => {
        firstToken ??= performance.now() - due
        // The usage stands at the end; what was read before is not needed.
        text = (text + piece).slice(-2000)
      })
      response.on('error', reject)
      response.on('end', () => {
        const [, tokens] = /"completion_tokens":(\d+)/.exec(text) ?? []
        if (response.statusCode !== 200 || tokens === undefined || firstToken === undefined)
          reject(new Error(`status ${response.statusCode}: ${text.slice(0, 200)}`))
        else resolve({ firstToken, end: performance.now() - due, tokens: Number(tokens) })
      })
    })
    call.on('error', reject)
    call.end(body(index))
  })
}

/** The value that `part` of them do not pass, 0.5 for the median; `null` of none. */
export function percentile(values: readonly number[], part: number): number | null {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? null
}
