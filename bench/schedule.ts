import { Command } from 'commander'
import { wholeNumber } from '../cli/options.ts'
import { median } from '../runtime/tune/statistics.ts'
import { Scheduler } from '../serve/schedule/scheduler.ts'
import { rng } from '../test/support/rng.ts'
import { randomLimits, randomOperation, ScheduleWalk } from '../test/support/schedule-walk.ts'
import { runBench } from './command.ts'
import type { Row } from './results.ts'
import { table } from './table.ts'

/** One scheduler takes so many operations, then ends. */
const walkLength = 2000

/** Takes schedulers through random operations; every one is audited, and every token compared. */
function soak(operations: number, seed: number): Row {
  const random = rng(seed)
  const totals = { finished: 0, preemptions: 0, prefixHits: 0 }
  for (let done = 0; done < operations; done += walkLength) {
    const { limits, pageTokens } = randomLimits(random)
    const walk = new ScheduleWalk(limits, pageTokens)
    for (let i = 0; i < walkLength; i++) walk.do(randomOperation(random))
    walk.drain()
    totals.finished += walk.finished
    totals.preemptions += walk.scheduler.stats.preemptions
    totals.prefixHits += walk.scheduler.stats.prefixHits
    if (process.stderr.isTTY) process.stderr.write(`\r${done + walkLength} operations`)
  }
  if (process.stderr.isTTY) process.stderr.write('\n')
  return {
    operations,
    'requests finished': totals.finished,
    preemptions: totals.preemptions,
    'tokens found in the cache': totals.prefixHits,
  }
}

/** Microseconds that a steady step takes to plan and to collect, with so many sequences that decode. */
function stepTime(sequences: number): Row {
  const scheduler = new Scheduler(
    { sequences, tokens: sequences + 1024, pages: 60_000, context: 4096, waiting: 1e6, watermark: 64 },
    64,
  )
  const random = rng(sequences)
  const add = () =>
    scheduler.add({
      prompt: Int32Array.from({ length: 1024 }, () => random.integer(0, 127_999)),
      maxTokens: 512,
      stopIds: [128_001, 128_009],
    })
  for (let i = 0; i < 2 * sequences; i++) add()
  const ids = new Int32Array(sequences)
  const times: number[] = []
  let previous = scheduler.plan()
  for (let i = 0; i < 1200; i++) {
    const start = performance.now()
    const plan = scheduler.plan()
    const events = previous ? scheduler.collect(previous, ids) : []
    times.push(1000 * (performance.now() - start))
    for (const { finished } of events) if (finished) add()
    previous = plan
  }
  const sorted = times.slice(600).sort((a, b) => a - b)
  return {
    sequences,
    'µs a step, median': median(sorted),
    '99 of 100 below': sorted[Math.floor(0.99 * sorted.length)]!,
    most: sorted.at(-1)!,
  }
}

await runBench(
  new Command('bench:schedule')
    .description('Time to plan steps; and a soak of the scheduler in random operations, audited after each.')
    .option('--operations <n>', 'operations of the soak', wholeNumber(1), 1_000_000)
    .option('--seed <n>', 'seed of the soak', wholeNumber(0), 1)
    .action(({ operations, seed }: { operations: number; seed: number }) => {
      console.log(table([1, 64, 256, 512, 1024].map(stepTime)))
      console.log(table([soak(operations, seed)]))
    }),
)
