const points = 120
const [width, height] = [300, 72]
const [left, top, bottom] = [2, 6, 4]

/** The smallest of 1, 2 and 5 times a power of ten that is not below `value`. */
export function roundUp(value) {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return power * [1, 2, 5, 10].find((factor) => factor * power >= value)
}

/**
 * Lines through the values that are there, as the `points` of polylines; `null` interrupts. The last value is on the right.
 *
 * @param {(number | null)[]} values
 * @param {number} most value at the top
 * @returns {string[]}
 */
export function linesThrough(values, most) {
  const lines = [[]]
  for (const [i, value] of values.entries()) {
    if (value === null) {
      lines.push([])
      continue
    }
    const x = width - left - ((values.length - 1 - i) * (width - 2 * left)) / (points - 1)
    const y = top + (height - top - bottom) * (1 - value / most)
    lines.at(-1).push(`${x.toFixed(1)},${y.toFixed(1)}`)
  }
  // A line of one point has no length, and is drawn as a dot by its round ends.
  return lines
    .filter(({ length }) => length > 0)
    .map((line) => (line.length === 1 ? [...line, ...line] : line).join(' '))
}

function element(name, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

/** A chart of the last two minutes of one or two series. */
export class Chart {
  #series
  #unit
  #atLeast
  #values
  #shown
  #svg

  /**
   * @param {Element} parent
   * @param {{ series: { name: string, key: string }[], unit: string, atLeast: number }} options `atLeast`: what the top
   *   of the chart is at least
   */
  constructor(parent, { series, unit, atLeast }) {
    this.#series = series
    this.#unit = unit
    this.#atLeast = atLeast
    this.#values = series.map(() => [])
    this.#shown = series.map(() => document.createElement('b'))
    const caption = document.createElement('figcaption')
    for (const [i, { name }] of series.entries()) {
      const label = document.createElement('span')
      label.className = ['first', 'second'][i]
      label.append(`${name} `, this.#shown[i])
      caption.append(label)
    }
    this.#svg = element('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' })
    const figure = document.createElement('figure')
    figure.append(caption, this.#svg)
    parent.append(figure)
    this.#draw()
  }

  /** @param {Record<string, number | null>} point */
  add(point) {
    for (const [i, { key }] of this.#series.entries()) {
      this.#values[i].push(point[key])
      if (this.#values[i].length > points) this.#values[i].shift()
    }
    this.#draw()
  }

  #draw() {
    const known = this.#values.flat().filter((value) => value !== null)
    const most = roundUp(Math.max(this.#atLeast, ...known))
    const says = this.#series.map(({ name }, i) => {
      const value = this.#values[i].findLast((value) => value !== null)
      const text =
        value === undefined ? '–' : `${value.toFixed(value < 10 && value % 1 ? 1 : 0)}${this.#unit}`
      this.#shown[i].textContent = text
      return `${name} ${text}`
    })
    this.#svg.setAttribute('aria-label', `${says.join(', ')}, over the last two minutes`)
    const label = element('text', { x: left, y: top + 9 }, `${most}${this.#unit}`)
    const grid = [top, height - bottom].map((y) => element('line', { x1: 0, x2: width, y1: y, y2: y }))
    const lines = this.#values.flatMap((values, i) =>
      linesThrough(values, most).map((points) =>
        element('polyline', { points, class: ['first', 'second'][i] }),
      ),
    )
    this.#svg.replaceChildren(...grid, label, ...lines)
  }
}
