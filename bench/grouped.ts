import { Command, InvalidArgumentError, Option } from 'commander'
import { collect } from '../cli/options.ts'
import { gemmConstants, gemmKernel, gemmOperands, unshared } from '../kernels/gemm/operands.ts'
import type { WgmmaTiles } from '../kernels/gemm/wgmma-plan.ts'
import { bestTiles } from '../models/best-tiles.ts'
import type { Device } from '../runtime/device.ts'
import { deviceSlug } from '../runtime/device-slug.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import { WrongResult } from '../runtime/tune/bench.ts'
import { ceilings, floorMicroseconds } from '../runtime/tune/roofline.ts'
import type { Product } from './cases/gemm.ts'
import {
  type GroupedFormat,
  groupedCase,
  groupedFormats,
  groupedTilesFor,
  groupTilesCase,
  mixtral,
  randomRouting,
} from './cases/grouped.ts'
import type { KernelCase } from './cases/kernel-case.ts'
import { runBench } from './command.ts'
import { countsIn, tilesIn } from './gemm/options.ts'
import { launchMicroseconds } from './measure.ts'
import { openGpu } from './open-gpu.ts'
import { randomTensor } from './random-tensors.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

interface GroupedOptions {
  readonly device?: string
  readonly formats: readonly GroupedFormat[]
  readonly tokens: readonly number[]
  readonly tiles: readonly string[]
  readonly commit?: string
}

type Tensors = Readonly<Record<string, Tensor<string>>>

/** The tensors of a case, one copy of each: the weights of all experts are more than any cache holds. */
const makeTensors = (device: Device, { args }: KernelCase): Tensors =>
  Object.fromEntries(
    Object.entries(args).map(([name, plan]) => {
      if (typeof plan === 'number') throw new Error(`${name} is no tensor`)
      const { dtype, shape, tag, data } = plan
      const tensor =
        typeof data === 'string'
          ? randomTensor(device, dtype, shape, data, tag)
          : Tensor.from(device, dtype, shape, data(0))
      return [name, tensor as Tensor<string>]
    }),
  )

/** One launch for each expert that has tokens, with the tiles that a product of so many tokens takes. */
async function separateLaunches(
  device: Device,
  format: GroupedFormat,
  { N, K }: Product,
  counts: readonly number[],
  tensors: Tensors,
  out: Tensor,
  overlap: boolean,
): Promise<Launch[]> {
  const launches: Launch[] = []
  let first = 0
  for (const [expert, M] of counts.entries()) {
    if (M === 0) continue
    const args = Object.fromEntries(
      Object.entries(gemmOperands(format, { M, N, K }, { dtype: 'f16' })).map(
        ([name, { dtype, shape, tag }]) => {
          const all = name === 'out' ? out : tensors[name]!
          const isOfExpert = ['w', 'scale', 'zero'].includes(name)
          const bytes = all.bytes / (isOfExpert ? counts.length : all.shape[0]!)
          return [name, all.view(bytes * (isOfExpert ? expert : first), dtype, shape, tag ?? 'row')]
        },
      ),
    )
    const constants = gemmConstants(format, { N, K }, unshared(bestTiles(format, { M, N, K }, device)), {
      dtype: 'f16',
    })
    launches.push(await prepare(device, gemmKernel(format), constants, args as never, { overlap }))
    first += M
  }
  return launches
}

/** Microseconds of launches one after the other. */
const timeOf = (device: Device, launches: readonly Launch[]): Promise<number> =>
  launchMicroseconds(device, [
    {
      run(stream) {
        for (const launch of launches) launch.run(stream)
      },
    },
  ])

/** Compares some rows of two outputs; throws `WrongResult` where they differ in a bit. */
async function compare(out: Tensor, expected: Tensor, M: number): Promise<void> {
  const step = Math.max(1, Math.floor(M / 61))
  for (let m = 0; m < M; m += step) {
    const [got, wanted] = await Promise.all([out.slice(m, m + 1).read(), expected.slice(m, m + 1).read()])
    const n = got.findIndex((value, i) => value !== wanted[i])
    if (n >= 0) throw new WrongResult(`out[${m}, ${n}] is ${got[n]} and must be ${wanted[n]}`)
  }
}

/** Measures a product by the experts one by one, and grouped with each of some tiles. */
async function measure(
  device: Device,
  format: GroupedFormat,
  product: Product,
  counts: readonly number[],
  candidates: readonly WgmmaTiles[],
): Promise<Row[]> {
  const base = groupedCase(product, counts, format, device)
  const tensors = makeTensors(device, base)
  const { tiles: _, tileCount: __, ...operands } = tensors
  const expected = randomTensor(device, 'f16', tensors.out!.shape, 'halves')
  const rows: Row[] = []
  const free: Tensor<string>[] = [...Object.values(tensors), expected]
  try {
    const separate = async (overlap: boolean) =>
      timeOf(device, await separateLaunches(device, format, product, counts, tensors, expected, overlap))
    const separateUs = await separate(false)
    const separateChainedUs = await separate(true)
    const ceiling = ceilings[deviceSlug(device)]
    for (const tiles of candidates) {
      const row = { ...base.parameters, tile: tileName(tiles) }
      const making = groupTilesCase(counts, tiles.tokens)
      const own = makeTensors(device, making)
      free.push(...Object.values(own))
      try {
        const { config, kernel } = groupedCase(product, counts, format, device, tiles)
        const args = { ...operands, tiles: own.tiles!, tileCount: own.tileCount! }
        const list = await prepare(device, making.kernel, making.config, own as never)
        const plain = await prepare(device, kernel, config, args as never, { overlap: false })
        const chained = await prepare(device, kernel, config, args as never, { overlap: true })
        tensors.out!.fill(0xff)
        list.run()
        plain.run()
        await compare(tensors.out!, expected, tensors.out!.shape[0]!)
        const us = await timeOf(device, [plain])
        rows.push({
          ...row,
          us,
          usWithList: await timeOf(device, [list, chained]),
          separateUs,
          separateChainedUs,
          speedup: separateUs / us,
          tops: base.ops / us / 1e6,
          tbPerS: base.bytes / us / 1e6,
          floorUs: ceiling ? floorMicroseconds(base, ceiling) : null,
        })
      } catch (error) {
        rows.push({ ...row, error: (error as Error).message.split('\n')[0]! })
      }
    }
  } finally {
    for (const tensor of free) tensor.free()
  }
  return rows
}

const tileName = (t: WgmmaTiles): string => {
  const along = t.kGroups * t.split > 1 ? ` k${t.kGroups}s${t.split}` : ''
  return `${t.tokens}x${64 * t.rowGroups * t.blocks}${along} u${t.units} ${t.stages} stages`
}

function formatsIn(text: string): GroupedFormat[] {
  const names = text.split(',')
  const unknown = names.find((name) => !(groupedFormats as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new InvalidArgumentError(`There is no '${unknown}' here; there are ${groupedFormats.join(', ')}.`)
  return names as GroupedFormat[]
}

await runBench(
  new Command('bench:grouped')
    .description(
      'Products of a mixture of experts (Mixtral 8x7B) on a GPU: one launch against one an expert.',
    )
    .option('--device <name>', 'cuda:0, cuda:1, … (default: the first GPU)')
    .addOption(
      new Option('--formats <names>', `some of ${groupedFormats.join(',')}`)
        .argParser(formatsIn)
        .default(['w4a8', 'w8a8'], 'w4a8,w8a8'),
    )
    .addOption(
      new Option('--tokens <counts>', 'numbers of tokens, each of which takes two experts')
        .argParser(countsIn)
        .default([16, 256, 4096], '16,256,4096'),
    )
    .addOption(
      new Option('--tiles <json>', 'tile constants instead of the default ones; may be given again')
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (options: GroupedOptions) => {
      const device = await openGpu('bench:grouped', options.device)
      try {
        const given = options.tiles.map((text) => tilesIn(text) as WgmmaTiles)
        const rows: Row[] = []
        for (const tokens of options.tokens) {
          const counts = randomRouting(tokens, mixtral)
          for (const format of options.formats) {
            for (const product of mixtral.products) {
              const tiles = given.length > 0 ? given : [groupedTilesFor(format, product, counts, device)]
              for (const row of await measure(device, format, product, counts, tiles))
                rows.push({ tokens, ...row })
            }
          }
        }
        console.log(table(rows))
        console.log(`wrote ${writeResults(device, 'grouped', rows, options)}`)
        if (rows.every((row) => 'error' in row)) process.exitCode = 1
      } finally {
        await device.close()
      }
    }),
)
