import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import { recordsFolder, recordsIn, shippedRecords } from '../../runtime/tune/tuned.ts'
import { UsageError } from '../failure.ts'
import { jsonOption } from '../options.ts'
import { formatOption, modelOption, type Product, shapeOption, tokensOption } from './choices.ts'
import { type WinnerRow, winnersOf, winnersTable } from './winners.ts'

interface ShowOptions {
  readonly format?: readonly WeightFormatName[]
  readonly model: readonly Product[]
  readonly shape: readonly Product[]
  readonly tokens?: readonly number[]
  readonly from?: string
  readonly json?: boolean
}

export const tuneShowCommand = (): Command =>
  new Command('show')
    .description('Show the fastest configurations on record.')
    .addOption(formatOption())
    .addOption(modelOption())
    .addOption(shapeOption())
    .addOption(tokensOption())
    .option('--from <folder>', 'folder of records (default: those that come with Quattuor, and your own)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  $ quattuor tune show --format w4a8 --shape 4096x14336
  $ quattuor tune show --model llama-3-8b --tokens 16,1024 --json`,
    )
    .action(show)

function show({ format, model, shape, tokens, from, json }: ShowOptions): void {
  if (from !== undefined && !existsSync(from)) throw new UsageError(`${from} does not exist`)
  const folders =
    from !== undefined ? [from] : [...new Set([shippedRecords(), recordsFolder() ?? shippedRecords()])]
  const formats = format ?? (Object.keys(weightFormats) as WeightFormatName[])
  const records = folders.flatMap((folder) =>
    formats.flatMap((name) => recordsIn(folder, name).flatMap((each) => each.records)),
  )
  const products = [...model, ...shape]
  const rows = winnersOf(records).filter(
    (row) =>
      (products.length === 0 || products.some(({ N, K }) => row.N === N && row.K === K)) &&
      (tokens === undefined || tokens.includes(row.M)),
  )
  if (json) {
    console.log(JSON.stringify({ winners: rows }))
    return
  }
  if (rows.length === 0)
    throw new UsageError(
      records.length === 0
        ? `there are no records in ${folders.join(' and ')}; measure some with quattuor tune gemm`
        : `no record is of such a product; there are ${shapesText(winnersOf(records))}`,
    )
  const gpus = [...new Set(rows.map(({ gpu }) => gpu))]
  for (const gpu of gpus) {
    console.log(
      `${gpu}${rows.find((row) => row.gpu === gpu)!.status === 'unmeasured' ? ' (unmeasured)' : ''}`,
    )
    console.log(winnersTable(rows.filter((row) => row.gpu === gpu)))
  }
}

const shapesText = (rows: readonly WinnerRow[]): string =>
  [...new Set(rows.map(({ N, K }) => `${N}x${K}`))].join(', ')
