import { Command } from 'commander'
import { CheckpointError } from '../checkpoint/error.ts'
import { openModel } from '../models/open-model.ts'
import { inspectProducts, type ProductFacts } from '../quantize/inspect.ts'
import { modelFolder, modelHelp } from './model-folder.ts'
import { jsonOption } from './options.ts'
import { bytesText, progressBar } from './progress.ts'
import { tableText } from './table.ts'

export const inspectCommand = (): Command =>
  new Command('inspect')
    .description(
      'Show what a checkpoint holds: format, sizes, how often each code occurs, and whether codes are safe.',
    )
    .argument('<model>', modelHelp)
    .option('--layers', 'a line for each product of each layer')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Two-level codes must stay in a signed byte when they are taken back (the protective range): level-1 codes end at ±119, group
scales lie from 1 to 16, and code · scale + minimum from −128 to 127. Exit code 2 says that some do not.

Examples:
  $ quattuor inspect models/llama-w4a8kv4-g128
  $ quattuor inspect models/llama-w4a8kv4-g128 --layers --json`,
    )
    .action(inspect)

async function inspect(
  model: string,
  { layers, json }: { readonly layers?: boolean; readonly json?: boolean },
): Promise<void> {
  const folder = await modelFolder(model)
  const checkpoint = openModel(folder)
  try {
    const { config, format, tensors } = checkpoint
    const bar = progressBar('Reading')
    const products = inspectProducts(checkpoint, bar.update)
    bar.stop()
    const bytes = (test: (name: string) => boolean): number =>
      tensors.names.filter(test).reduce((sum, name) => sum + tensors.info(name).byteLength, 0)
    const isLayer = (name: string): boolean => name.startsWith('model.layers.')
    const isEmbedding = (name: string): boolean => name.includes('embed_tokens')
    const sizes = {
      layers: bytes(isLayer),
      embeddings: bytes(isEmbedding),
      rest: bytes((name) => !isLayer(name) && !isEmbedding(name)),
      total: bytes(() => true),
    }
    const unsafe = products.filter(({ faults }) => faults.length > 0)
    if (json) {
      const facts = {
        folder,
        architecture: config.architecture,
        layers: config.layers,
        format,
        bytes: sizes,
        products,
      }
      console.log(JSON.stringify(facts))
    } else {
      const kv = `${format.kv.bits}-bit keys and values`
      const keys = [format.kv.keyMean && 'centred', format.kv.keyHadamard && 'Hadamard-transformed'].filter(
        Boolean,
      )
      console.log(
        `${folder}: ${config.architecture}, ${config.layers} layers, ${format.name}` +
          `${format.exceptions ? ` with ${Object.keys(format.exceptions).length} products in other formats` : ''}` +
          `${format.head ? `, head ${format.head.format}` : ''}, ${kv}${keys.length > 0 ? ` (keys ${keys.join(', ')})` : ''}`,
      )
      console.log(
        `${bytesText(sizes.total)}: layers ${bytesText(sizes.layers)}, embeddings ${bytesText(sizes.embeddings)}, rest ${bytesText(sizes.rest)}`,
      )
      if (products.length > 0)
        console.log(`\n${tableText(head, (layers ? products : byProduct(products)).map(row))}`)
      if (products.length > 0) console.log(`\n${histograms(products)}`)
      const kinds = products.filter(({ twoLevel }) => twoLevel).length
      if (kinds > 0 && unsafe.length === 0)
        console.log(`\nprotective range: kept in all ${kinds} products with two-level codes`)
    }
    if (unsafe.length > 0)
      throw new CheckpointError(
        `${folder}: ${unsafe.map(({ path, faults }) => `${path}: ${faults.join(', ')}`).join('; ')}; quantize the model again`,
      )
  } finally {
    checkpoint.close()
  }
}

const head = ['product', 'format', 'shape', 'count', 'size', 'scales', 'group scales', 'bytes', 'at the ends']

/** A line of the table. */
interface Line extends ProductFacts {
  readonly count?: number
}

function row({ path, format, rows, columns, count = 1, bytes, scale, twoLevel, histogram }: Line): string[] {
  const range = (values: readonly number[] | undefined, digits = 3): string =>
    values ? values.map((value) => String(Number(value.toPrecision(digits)))).join(' … ') : ''
  const total = histogram.reduce((a, b) => a + b)
  // Codes of 8 bits end at ±127.
  const ends = histogram.length === 16 ? [0, 15] : [1, 255]
  const atEnds = ends.reduce((sum, code) => sum + histogram[code]!, 0) / total
  return [
    ...[path, format, `${rows} × ${columns}`, String(count), bytesText(bytes)],
    ...[range(scale), range(twoLevel?.groupScale), range(twoLevel?.byte), `${(100 * atEnds).toFixed(2)} %`],
  ]
}

/** The same product of all layers in one line. */
function byProduct(products: readonly ProductFacts[]): Line[] {
  const lines = new Map<string, Line[]>()
  for (const each of products) {
    const path = each.path.replace(/^model\.layers\.\d+\./, '')
    const key = `${path} ${each.format}`
    lines.set(key, [...(lines.get(key) ?? []), { ...each, path }])
  }
  return [...lines.values()].map((same) => same.reduce(merge))
}

function merge(a: Line, b: Line): Line {
  const wider = (x: readonly [number, number], y: readonly [number, number]): readonly [number, number] => [
    Math.min(x[0], y[0]),
    Math.max(x[1], y[1]),
  ]
  return {
    ...a,
    count: (a.count ?? 1) + (b.count ?? 1),
    bytes: a.bytes + b.bytes,
    histogram: a.histogram.map((n, code) => n + b.histogram[code]!),
    scale: wider(a.scale, b.scale),
    ...(a.twoLevel &&
      b.twoLevel && {
        twoLevel: {
          groupScale: wider(a.twoLevel.groupScale, b.twoLevel.groupScale),
          byte: wider(a.twoLevel.byte, b.twoLevel.byte),
        },
      }),
  }
}

/** How often each code occurs, for each format: codes of 4 bits one by one, those of 8 bits in sixteenths of the range. */
function histograms(products: readonly ProductFacts[]): string {
  const formats = new Map<string, number[]>()
  for (const { format, histogram } of products) {
    const width = histogram.length / 16
    const bins = formats.get(format) ?? new Array<number>(16).fill(0)
    histogram.forEach((count, code) => {
      bins[Math.floor(code / width)]! += count
    })
    formats.set(format, bins)
  }
  return [...formats]
    .map(([format, bins]) => {
      const total = bins.reduce((a, b) => a + b)
      const most = Math.max(...bins)
      const lines = bins.map((count, i) => {
        const label = format.startsWith('w8') ? `${16 * i - 128} …` : String(i)
        const bar = '█'.repeat(Math.round((40 * count) / most))
        return `  ${label.padStart(6)}  ${((100 * count) / total).toFixed(2).padStart(5)} %  ${bar}`.trimEnd()
      })
      return `codes of ${format}\n${lines.join('\n')}`
    })
    .join('\n\n')
}
