import { Command, Option } from 'commander'
import { suggest } from '../codegen/suggest.ts'
import { type MmaOperand, mma, type WgmmaTypes, wgmmaAtom } from '../dsl/atoms/index.ts'
import { unitColumns, unitRows } from '../dsl/format.ts'
import { type DrawAs, draw, drawOwners, parseLayout } from '../dsl/layout/index.ts'
import { weightFormats } from '../kernels/formats/index.ts'
import { UsageError } from './failure.ts'
import { writeWhole } from './write-whole.ts'

export const drawCommand = (): Command =>
  new Command('draw')
    .description('Draw a layout, the packing of a weight format, or the fragments of an MMA instruction.')
    .argument('<what>', 'a layout such as "(8,2):(1,8)", or one of the names that the examples show')
    .addOption(new Option('--svg', 'draw an SVG image instead of text'))
    .option('-o, --out <file>', 'write to a file (an SVG image if it ends in .svg)')
    .addHelpText(
      'after',
      `
Names: ${[...drawings.keys()].join(', ')}

Examples:
  $ quattuor draw "(4,8):(8,1)"
  $ quattuor draw w4a8 --out w4a8.svg
  $ quattuor draw m16n8k32.u8s8.a`,
    )
    .action(async (what: string, { svg, out }: { readonly svg?: boolean; readonly out?: string }) => {
      const as: DrawAs = svg || out?.endsWith('.svg') ? 'svg' : 'text'
      const picture = `${pictureOf(what, as).trimEnd()}\n`
      if (out === undefined) process.stdout.write(picture)
      else await writeWhole(out, picture)
    })

/** Types of the `wgmma`s that are drawn, those of 8 columns: wider ones repeat their accumulators. */
const wgmmaTypes: readonly WgmmaTypes[] = ['u8s8', 's8s8', 'f16', 'bf16', 'e4m3']

/** Named drawings: a unit of packing of each weight format, and the fragments of each MMA instruction. */
const drawings = new Map<string, (as: DrawAs) => string>([
  ...Object.values(weightFormats).map((format): [string, (as: DrawAs) => string] => [
    format.name,
    (as) => draw(format.layout(unitRows, unitColumns), as),
  ]),
  ...Object.values(mma)
    .flatMap((shape) => Object.values(shape))
    .flatMap(({ name, m, n, k, a, b, c }): [string, (as: DrawAs) => string][] => [
      [`${name}.a`, owners(a, m, k)],
      [`${name}.b`, owners(b, n, k)],
      [`${name}.c`, owners(c, m, n)],
    ]),
  ...wgmmaTypes
    .map((types) => wgmmaAtom(8, types))
    .flatMap(({ name, m, n, k, a, c }): [string, (as: DrawAs) => string][] => [
      [`${name}.a`, owners(a, m, k)],
      [`${name}.c`, owners(c, m, n)],
    ]),
])

function owners({ layout }: MmaOperand, rows: number, columns: number) {
  return (as: DrawAs): string => drawOwners(layout, rows, columns, as)
}

function pictureOf(what: string, as: DrawAs): string {
  const named = drawings.get(what)
  if (named) return named(as)
  if (what.includes(':')) return draw(parseLayout(what.replaceAll(/\s/g, '')), as)
  const near = suggest(what, [...drawings.keys()])
  const problem = /[(,]/.test(what)
    ? `the layout '${what}' has a shape and no stride`
    : `there is nothing called '${what}' to draw${near ? `; did you mean '${near}'?` : ''}`
  throw new UsageError(
    `${problem}${near ? '' : '.'} Give a layout such as "(8,2):(1,8)", or a name from quattuor draw --help`,
  )
}
