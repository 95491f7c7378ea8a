import benny from 'benny'
import { Command } from 'commander'
import type { WeightFormat, WeightParts } from '../dsl/format.ts'
import { weightFormats } from '../kernels/formats/index.ts'
import { runBench } from './command.ts'
import type { Row } from './results.ts'
import { table } from './table.ts'

/** A projection of an 8-billion-parameter model: the wide one of the feed-forward network. */
const [N, K] = [14336, 4096]
const parameters = 8e9

/** Every code occurs, and all groups have the same harmless parameters. */
function weightsOf(format: WeightFormat): WeightParts {
  const groups = format.group > 0 ? (N * K) / format.group : 0
  const Codes = { 4: Uint8Array, 8: Int8Array, 16: Uint16Array }[format.bits as 4 | 8 | 16]
  const codes = new Codes(N * K).map((_, i) => ((i * 7) % 2 ** Math.min(format.bits, 7)) & 0x7f)
  const parts = {
    codes,
    groupScale: new Uint8Array(groups).fill(9),
    groupMin: new Int8Array(groups).fill(-60),
    scale: new Uint16Array(groups).fill(0x2000),
    zero: new Uint8Array(groups).fill(7),
  }
  return parts
}

/** Median seconds of packing, and of unpacking. */
async function measure(format: WeightFormat): Promise<Row> {
  const weights = weightsOf(format)
  const words = format.pack(weights, N, K)
  const { results } = await benny.suite(
    `${format.name} [${N}, ${K}]`,
    benny.add('pack', () => format.pack(weights, N, K), { minSamples: 5, maxTime: 2 }),
    benny.add('unpack', () => format.unpack(words, N, K), { minSamples: 5, maxTime: 2 }),
  )
  const [pack, unpack] = results.map(({ details }) => details.median)
  return {
    format: format.name,
    'pack, M weights/s': (N * K) / pack! / 1e6,
    'unpack, M weights/s': (N * K) / unpack! / 1e6,
    '8 billion packed, s': (pack! * parameters) / (N * K),
  }
}

await runBench(
  new Command('bench:pack')
    .description('Speed of packing weights on the host, on one thread.')
    .action(async () => {
      const rows: Row[] = []
      for (const format of Object.values(weightFormats)) rows.push(await measure(format))
      console.log(table(rows))
    }),
)
