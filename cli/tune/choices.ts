import { Option } from 'commander'
import { suggest } from '../../codegen/suggest.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { layerProducts, type ModelName, namedShapes } from '../../models/shapes.ts'
import { UsageError } from '../failure.ts'

/** Features and columns of a product. */
export type Product = Pick<GemmShape, 'N' | 'K'>

/** Token counts that are tuned unless others are named: steps of decoding, batches, and prompts. */
export const usualTokens = [1, 8, 16, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192] as const

/** `--format`, one or several. */
export const formatOption = () =>
  new Option('-f, --format <names>', 'weight formats, separated by commas, or all').argParser(parseFormats)

/** `--shape`, features and columns of a product. */
export const shapeOption = () =>
  new Option('-s, --shape <NxK>', 'features and columns of a product, as 4096x14336; may be repeated')
    .argParser((text: string, before: readonly Product[]) => [...before, parseShape(text)])
    .default([], 'none')

/** `--tokens`, one or several. */
export const tokensOption = () =>
  new Option('-m, --tokens <counts>', 'numbers of tokens, separated by commas').argParser(parseTokens)

/** `--model`, names of models whose layers' products are meant. */
export const modelOption = () =>
  new Option(
    '--model <names>',
    `the products of a model's layers: ${Object.keys(namedShapes).join(', ')}, several separated by commas, or all`,
  )
    .argParser((text: string, before: readonly Product[]) => [...before, ...parseModels(text)])
    .default([], 'none')

function parseFormats(text: string): WeightFormatName[] {
  const known = Object.keys(weightFormats)
  if (text === 'all') return known as WeightFormatName[]
  return text.split(',').map((name) => nameAmong('weight format', name, known) as WeightFormatName)
}

function parseModels(text: string): Product[] {
  const known = Object.keys(namedShapes)
  const names = text === 'all' ? known : text.split(',').map((name) => nameAmong('model', name, known))
  return names.flatMap((name) => layerProducts(namedShapes[name as ModelName]))
}

function nameAmong(what: string, name: string, known: readonly string[]): string {
  if (known.includes(name)) return name
  const near = suggest(name, known)
  throw new UsageError(
    `there is no ${what} '${name}'${near ? `; did you mean '${near}'?` : '.'} There are ${known.join(', ')}, and all`,
  )
}

function parseShape(text: string): Product {
  const [, N, K] = /^(\d+)x(\d+)$/.exec(text) ?? []
  if (!Number(N) || !Number(K))
    throw new UsageError(`--shape ${text} is no shape; write features x columns, as --shape 4096x14336`)
  return { N: Number(N), K: Number(K) }
}

function parseTokens(text: string): number[] {
  const counts = text.split(',').map(Number)
  if (!counts.every((count) => Number.isSafeInteger(count) && count > 0))
    throw new UsageError(`--tokens ${text} are no numbers of tokens; write --tokens 1,16,64`)
  return [...new Set(counts)].sort((a, b) => a - b)
}

/** Each product with each number of tokens, none twice. */
export function shapesOf(products: readonly Product[], tokens: readonly number[]): GemmShape[] {
  const distinct = new Map(products.map(({ N, K }) => [`${N}x${K}`, { N, K }]))
  return [...distinct.values()].flatMap(({ N, K }) => tokens.map((M) => ({ M, N, K })))
}
