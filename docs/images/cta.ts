/**
 * A CTA of a product on `wgmma` with two consumer warpgroups: its roles, its ring of stages and its way out, as SVG.
 */
const [WIDTH, HEIGHT] = [760, 380]

const colours = {
  producer: '#fdeccf',
  ring: '#d8e6fb',
  consumer: '#dff3d3',
  staging: '#e5dcf8',
  memory: '#eee',
} as const

interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  readonly fill: string
  /** The first line is bold. */
  readonly lines: readonly string[]
}

function drawBox({ x, y, width, height, fill, lines }: Box): string {
  const middle = x + width / 2
  const first = y + height / 2 - 8 * (lines.length - 1) + 4
  const text = lines.map((line, i) => {
    const weight = i === 0 ? ' font-weight="bold"' : ''
    return `<text x="${middle}" y="${first + 16 * i}"${weight}>${line}</text>`
  })
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="4" fill="${fill}" stroke="#999"/>${text.join('')}`
}

/** A line through points, with a head at its end; `label` stands at `at`. */
function drawArrow(points: readonly (readonly [number, number])[], label = '', at = points[0]!): string {
  const path = points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x} ${y}`).join('')
  const text = label === '' ? '' : `<text x="${at[0]}" y="${at[1]}" fill="#555">${label}</text>`
  return `<path d="${path}" fill="none" stroke="#555" marker-end="url(#head)"/>${text}`
}

/** The drawing of docs/kernels.md. */
export function drawCta(): string {
  const stages = [0, 1, 2, 3].map((stage) => ({
    x: 220,
    y: 76 + 62 * stage,
    width: 180,
    height: 52,
    fill: colours.ring,
    lines: [`stage ${stage}`, 'weights · activations'],
  }))
  const consumers = [0, 1].map((group) => ({
    x: 480,
    y: 76 + 124 * group,
    width: 120,
    height: 114,
    fill: colours.consumer,
    lines: [`consumers ${group}`, 'a warpgroup:', 'unpack, wgmma,', 'sums in registers'],
  }))
  const staging = [0, 1].map((group) => ({
    x: 650,
    y: 76 + 124 * group,
    width: 90,
    height: 114,
    fill: colours.staging,
    lines: ['staging', 'scaled,', 'transposed by', 'stmatrix'],
  }))
  const producer = {
    x: 20,
    y: 76,
    width: 120,
    height: 238,
    fill: colours.producer,
    lines: ['producer', 'one thread of a', 'warp: waits for', 'empty, announces', 'bytes, copies'],
  }
  const memory = {
    x: 20,
    y: 344,
    width: 720,
    height: 26,
    fill: colours.memory,
    lines: ['global memory: packed weights, activations, output'],
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" ` +
      'font-family="sans-serif" font-size="12" text-anchor="middle">',
    '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">' +
      '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    '<rect x="210" y="66" width="200" height="258" rx="6" fill="none" stroke="#999" stroke-dasharray="4 3"/>',
    '<text x="310" y="60" fill="#555">ring</text>',
    [producer, ...stages, ...consumers, ...staging, memory].map(drawBox).join('\n'),
    drawArrow(
      [
        [140, 110],
        [210, 110],
      ],
      'asks for',
      [175, 102],
    ),
    drawArrow(
      [
        [310, 344],
        [310, 324],
      ],
      'copy engine',
      [352, 334],
    ),
    drawArrow(
      [
        [410, 133],
        [480, 133],
      ],
      'full',
      [445, 125],
    ),
    drawArrow(
      [
        [410, 257],
        [480, 257],
      ],
      'full',
      [445, 249],
    ),
    drawArrow([
      [600, 133],
      [650, 133],
    ]),
    drawArrow([
      [600, 257],
      [650, 257],
    ]),
    drawArrow(
      [
        [695, 314],
        [695, 344],
      ],
      'copy engine',
      [655, 334],
    ),
    drawArrow(
      [
        [540, 76],
        [540, 44],
        [80, 44],
        [80, 76],
      ],
      'empty: each consumer warp gives a stage back',
      [310, 36],
    ),
    '</svg>\n',
  ].join('\n')
}
