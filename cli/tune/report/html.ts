/** Text as it stands in HTML. */
export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** A coordinate with as many digits as can be seen. */
export const px = (value: number): string => String(Math.round(value * 10) / 10)

/** A number for people: three digits that count, none behind the point from a hundred on. */
export const short = (value: number): string =>
  value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))

/** Powers of `base` that cover a range: the ticks of a logarithmic axis. */
export function powers(base: number, low: number, high: number): number[] {
  const first = Math.floor(Math.log(low) / Math.log(base) + 1e-9)
  const last = Math.ceil(Math.log(high) / Math.log(base) - 1e-9)
  return Array.from({ length: last - first + 1 }, (_, i) => base ** (first + i))
}

/** Maps a logarithmic range to a range of pixels. */
export function logScale(domain: readonly [number, number], range: readonly [number, number]) {
  const [low, high] = domain.map(Math.log) as [number, number]
  return (value: number): number =>
    range[0] + ((range[1] - range[0]) * (Math.log(value) - low)) / (high - low || 1)
}
