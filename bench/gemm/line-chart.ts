import { escapeHtml, px } from '../../cli/tune/report/html.ts'

/** One line of a chart. */
export interface Line {
  readonly name: string
  /** A CSS colour. */
  readonly color: string
  readonly dashed?: boolean
  readonly points: readonly (readonly [x: number, y: number])[]
}

export interface LineChartOptions {
  readonly title: string
  readonly y: {
    readonly scale: 'log' | 'linear'
    readonly ticks: readonly number[]
    readonly text: (value: number) => string
  }
  /** Values of x, each of which gets a tick; x is logarithmic. */
  readonly x: readonly number[]
  readonly xTitle: string
}

const size = { width: 720, height: 400, left: 52, right: 200, top: 14, bottom: 44 } as const
const labelHeight = 15

/** Lines over a logarithmic x, each with its name at its end, as SVG. */
export function lineChart(lines: readonly Line[], { title, x, xTitle, y }: LineChartOptions): string {
  const { width, height, left, right, top, bottom } = size
  const [firstX, lastX] = [Math.min(...x), Math.max(...x)].map(Math.log2) as [number, number]
  const along = (value: number) =>
    left + ((width - left - right) * (Math.log2(value) - firstX)) / (lastX - firstX || 1)
  const scale = y.scale === 'log' ? Math.log : (value: number) => value
  const [low, high] = [scale(y.ticks[0]!), scale(y.ticks.at(-1)!)]
  const up = (value: number) =>
    height - bottom - ((height - top - bottom) * (scale(value) - low)) / (high - low)

  const grid = y.ticks.map(
    (tick) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${px(up(tick))}" y2="${px(up(tick))}"/>` +
      `<text class="tick" x="${left - 8}" y="${px(up(tick) + 4)}" text-anchor="end">${y.text(tick)}</text>`,
  )
  const ticks = x.map(
    (tick) =>
      `<text class="tick" x="${px(along(tick))}" y="${height - bottom + 18}" text-anchor="middle">${tick}</text>`,
  )
  const shown = lines.filter((line) => line.points.length > 0)
  const paths = shown.map(({ name, color, dashed, points }) => {
    const at = points.map(([px_, py]) => `${px(along(px_))},${px(up(py))}`)
    const dots = points.map(
      ([tokens, value]) =>
        `<circle cx="${px(along(tokens))}" cy="${px(up(value))}" r="${dashed ? 2.5 : 3.5}">` +
        `<title>${escapeHtml(name)}, ${tokens}: ${y.text(value)}</title></circle>`,
    )
    return (
      `<g class="${dashed ? 'rival' : 'own'}" style="--line:${color}">` +
      `<polyline points="${at.join(' ')}"/>${dots.join('')}</g>`
    )
  })
  const ends = shown.map(({ points }) => up(points.at(-1)![1]))
  const labels = spread(ends, top + 4, height - bottom).map((at, i) => {
    const { name, color, points } = shown[i]!
    const from = along(points.at(-1)![0])
    const to = width - right + 14
    return (
      `<path class="leader" d="M${px(from + 5)} ${px(ends[i]!)}L${to - 4} ${px(at)}"/>` +
      `<text class="name" x="${to}" y="${px(at + 4)}" style="--line:${color}">${escapeHtml(name)}</text>`
    )
  })
  return (
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">` +
    `${grid.join('')}${ticks.join('')}` +
    `<text class="tick" x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(xTitle)}</text>` +
    `${paths.join('')}${labels.join('')}</svg>`
  )
}

/**
 * Moves places apart so far that labels do not touch: each as little as can be (the least squares), in their order, and
 * within bounds.
 */
export function spread(places: readonly number[], low: number, high: number): number[] {
  const order = places.map((_, i) => i).sort((a, b) => places[a]! - places[b]!)
  // Runs of labels that touch, each with the mean of where their first would like to be.
  const runs: { count: number; start: number }[] = []
  order.forEach((i, rank) => {
    let run = { count: 1, start: places[i]! - rank * labelHeight }
    for (let last = runs.at(-1); last && last.start > run.start; last = runs.at(-1)) {
      runs.pop()
      const count = last.count + run.count
      run = { count, start: (last.count * last.start + run.count * run.start) / count }
    }
    runs.push(run)
  })
  const starts = runs.flatMap(({ count, start }) => new Array<number>(count).fill(start))
  const most = high - (places.length - 1) * labelHeight
  const result = new Array<number>(places.length)
  order.forEach((i, rank) => {
    result[i] = Math.max(low, Math.min(most, starts[rank]!)) + rank * labelHeight
  })
  return result
}

/** Ticks 1, 2, 5, 10, … that cover some values. */
export function logTicks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const ticks: number[] = []
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high * 10; power *= 10)
    ticks.push(...[1, 2, 5].map((factor) => factor * power))
  const first = ticks.findLastIndex((tick) => tick <= low)
  const last = ticks.findIndex((tick) => tick >= high)
  return ticks.slice(Math.max(0, first), last + 1)
}
