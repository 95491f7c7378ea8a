import type { Program } from '../../codegen/program.ts'
import { type Bench, type BenchFactory, type Candidate, WrongResult } from './bench.ts'
import type { Measured, Rejected, Reply, Request, Sign } from './protocol.ts'
import { race, raceAlone } from './race.ts'

/**
 * The process that runs kernels for the tuner, started with the URL of a module that exports `openBench`. A kernel that
 * hangs or spoils the device takes this process with it and nothing else.
 */

const { openBench } = (await import(process.argv[2]!)) as { readonly openBench: BenchFactory }
const programs = new Map<number, Program>()
let bench: Bench | undefined

/** Sends a message and waits until it has left: what follows may never come back. */
const send = (message: Reply | Sign): Promise<void> =>
  new Promise((resolve) => process.send!(message, () => resolve()))

async function answer(request: Request): Promise<Reply> {
  if (request.kind === 'open') {
    bench = await openBench(request.device, request.problem)
    return { kind: 'opened', request: request.request, device: bench.device }
  }
  if (request.kind === 'load') {
    const [fn] = await bench!.load([request.program])
    programs.set(request.id, request.program)
    return { kind: 'loaded', request: request.request, resources: fn!.resources }
  }
  return { kind: 'measured', request: request.request, ...(await measure(bench!, request)) }
}

type MeasureRequest = Extract<Request, { kind: 'measure' }>

async function measure<E>(
  on: Bench<E>,
  { dims, candidates, careful }: MeasureRequest,
): Promise<{ results: Measured[]; rejected: Rejected[] }> {
  await on.open(dims)
  const rejected: Rejected[] = []
  const entries = new Map<Candidate, E>()
  try {
    for (const candidate of candidates) {
      await send({ kind: 'at', id: candidate.id })
      try {
        entries.set(candidate, await on.enter(programs.get(candidate.id)!, candidate))
      } catch (error) {
        if (isFatal(error)) throw error
        const failure = error instanceof WrongResult ? 'wrong' : 'launch'
        rejected.push({ id: candidate.id, failure, reason: (error as Error).message })
      }
    }
    const entriesOf = (candidates: readonly Candidate[]) => candidates.map((each) => entries.get(each)!)
    const raced = await race(
      [...entries.keys()],
      async (live) => {
        if (!careful) {
          await send({ kind: 'at', id: null })
          return on.sample(entriesOf(live))
        }
        const times: number[] = []
        for (const candidate of live) {
          await send({ kind: 'at', id: candidate.id })
          times.push(...(await on.sample([entries.get(candidate)!])))
        }
        return times
      },
      on.device.measures ? undefined : { rounds: 1, tie: 0 },
    )
    const finishes = await raceAlone(raced, async (close) => {
      await send({ kind: 'at', id: null })
      return on.sampleRested?.(entriesOf(close))
    })
    const results = finishes.map(({ candidate, estimate }) => ({
      id: candidate.id,
      us: estimate.median,
      interval: Number.isFinite(estimate.high) ? ([estimate.low, estimate.high] as const) : null,
    }))
    return { results, rejected }
  } finally {
    for (const entry of entries.values()) on.leave(entry)
  }
}

/** Whether the device cannot be used any more. */
const isFatal = (error: unknown): boolean => (error as { readonly fatal?: boolean }).fatal === true

process.on('message', (request: Request) => {
  answer(request).then(send, async (error: unknown) => {
    // The tuner starts another process, which begins with a device that works.
    if (isFatal(error)) {
      console.error((error as Error).message)
      process.exit(1)
    }
    await send({ kind: 'failed', request: request.request, reason: (error as Error).message })
  })
})
process.on('disconnect', () => process.exit())
