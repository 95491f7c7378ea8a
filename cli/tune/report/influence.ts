import { dimsKey, type TuneRecord } from '../../../runtime/tune/records.ts'

/** How much of the differences in time within shapes an axis of the tuning space explains. */
export interface Influence {
  readonly axis: string
  /** From 0 to 1: variance between the axis' values over all of it. */
  readonly explained: number
  readonly values: readonly unknown[]
}

/** A configuration at a shape: how many times as slow as the best one there. */
interface Slowness {
  readonly config: Readonly<Record<string, unknown>>
  readonly log: number
}

/**
 * The axes of the tuning space, the most influential first. Times are taken as logarithms of how many times as slow as
 * the shape's best a configuration is, so that large shapes do not count more than small ones.
 */
export function influences(records: readonly TuneRecord[]): Influence[] {
  const list = slownesses(records)
  const total = variance(list.map(({ log }) => log))
  const axes = new Set(list.flatMap(({ config }) => Object.keys(config)))
  return [...axes]
    .map((axis): Influence => {
      const groups = groupBy(list, ({ config }) => config[axis])
      const mean = average(list.map(({ log }) => log))
      const between = [...groups.values()].reduce(
        (sum, group) => sum + group.length * (average(group.map(({ log }) => log)) - mean) ** 2,
        0,
      )
      const explained = total > 0 ? between / list.length / total : 0
      return { axis, explained, values: [...groups.keys()].sort(byValue) }
    })
    .filter(({ values }) => values.length > 1)
    .sort((a, b) => b.explained - a.explained)
}

/** What two axes' values together make of the time. */
export interface Crossing {
  readonly x: unknown
  readonly y: unknown
  /** Geometric mean of how many times as slow as the best such configurations are. */
  readonly slowness: number
  /** Shapes at which one of them is the best. */
  readonly wins: number
  readonly count: number
}

/** Every pair of values of two axes that was measured. */
export function crossings(records: readonly TuneRecord[], x: string, y: string): Crossing[] {
  const groups = groupBy(slownesses(records), ({ config }) => JSON.stringify([config[x], config[y]]))
  return [...groups.values()].map((group) => ({
    x: group[0]!.config[x],
    y: group[0]!.config[y],
    slowness: Math.exp(average(group.map(({ log }) => log))),
    wins: group.filter(({ log }) => log === 0).length,
    count: group.length,
  }))
}

function slownesses(records: readonly TuneRecord[]): Slowness[] {
  return [...groupBy(records, ({ key }) => dimsKey(key)).values()].flatMap((cell) => {
    const best = Math.min(...cell.map(({ us }) => us))
    return cell.map(({ config, us }) => ({ config, log: Math.log(us / best) }))
  })
}

function groupBy<T, K>(list: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of list) {
    const group = groups.get(key(item))
    if (group) group.push(item)
    else groups.set(key(item), [item])
  }
  return groups
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

function variance(values: readonly number[]): number {
  const mean = average(values)
  return average(values.map((value) => (value - mean) ** 2))
}

/** Numbers by size, the rest by their text. */
const byValue = (a: unknown, b: unknown): number =>
  typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1
