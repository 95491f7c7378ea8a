import { median } from '../../runtime/tune/statistics.ts'
import type { StepTimes, Timeline } from '../../serve/engine/timeline.ts'
import type { Row } from '../results.ts'

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** The share of the time of these steps in which the device ran their kernels. */
export const busyShare = (steps: readonly StepTimes[]): number => {
  const busy = sum(steps.map((step) => step.busy))
  return busy / (busy + sum(steps.map(({ idle }) => idle)))
}

/** What steps of each kind took, one row each; decode steps apart that have as many rows as steps may have. */
export function timelineRows(steps: readonly StepTimes[], mostRows: number): Row[] {
  const kinds: Readonly<Record<string, (step: StepTimes) => boolean>> = {
    prompts: ({ kind }) => kind === 'prompts',
    mixed: ({ kind }) => kind === 'mixed',
    [`decode of ${mostRows}`]: ({ kind, decoded }) => kind === 'decode' && decoded === mostRows,
    'decode of fewer': ({ kind, decoded }) => kind === 'decode' && decoded < mostRows,
  }
  return Object.entries(kinds).flatMap(([name, is]) => {
    const of = steps.filter(is)
    if (of.length === 0) return []
    const times = (value: (step: StepTimes) => number) => of.map(value)
    const tokens = sum(times((step) => step.tokens))
    const seconds = sum(times(({ busy, idle }) => busy + idle)) / 1000
    return [
      {
        step: name,
        steps: of.length,
        tokens: tokens / of.length,
        decoded: sum(times(({ decoded }) => decoded)) / of.length,
        seconds,
        'median ms': median(times(({ busy }) => busy)),
        'µs a token': (1e6 * seconds) / tokens,
        'idle ms': sum(times(({ idle }) => idle)) / of.length,
        'busy %': 100 * busyShare(of),
        'enqueue ms': sum(times(({ enqueue }) => enqueue)) / of.length,
      },
    ]
  })
}

/** Milliseconds of the launches of steps that were taken apart, a row a step. */
export const detailRows = ({ details }: Timeline): Row[] =>
  details.map(({ step, launches }) => ({
    tokens: step.tokens,
    decoded: step.decoded,
    rows: step.rows,
    all: sum([...launches.values()]),
    ...Object.fromEntries(launches),
  }))
