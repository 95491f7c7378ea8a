/**
 * Threads of libuv's pool, which also waits for streams and reads files: one is left to those, so that compiling many
 * programs does not hold up a step that runs.
 */
const threads = Math.max(1, (Number(process.env.UV_THREADPOOL_SIZE) || 4) - 1)

let running = 0
const waiting: (() => void)[] = []

/** Runs `work` when fewer others run than the pool has threads for; in order. */
export async function whenThreadIsFree<T>(work: () => Promise<T>): Promise<T> {
  if (running >= threads) await new Promise<void>((resolve) => waiting.push(resolve))
  else running++
  try {
    return await work()
  } finally {
    const next = waiting.shift()
    if (next) next()
    else running--
  }
}
