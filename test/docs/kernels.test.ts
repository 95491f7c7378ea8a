import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../codegen/compile.ts'
import type { OperandType, WeightFormat, ZeroHandling } from '../../dsl/format.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import type { WgmmaTiles } from '../../kernels/gemm/wgmma-plan.ts'
import { defaultWgmmaTiles } from '../../kernels/gemm/wgmma-tiles.ts'
import { unpack } from './unpacking.ts'

const page = readFileSync(new URL('../../docs/kernels.md', import.meta.url), 'utf8')

/** The rows of the table behind a marker, as cells. */
const table = (name: string): string[][] =>
  page
    .match(new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)<!--`))![1]!
    .trim()
    .split('\n')
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )

const arithmetic = /^\s*(and|or|xor|shr|shl|shf|prmt|lop3|mul|add|sub|fma|mad|cvt)\./gm

/** PTX instructions that unpack eight weights, without those that prepare what many loads share. */
function unpackingOf(format: WeightFormatName, zero: ZeroHandling, x: OperandType): number {
  const countOf = (count: number): number =>
    [...compileKernel(unpack, { format, zero, x, count }, 'sm_90a').ptx.matchAll(arithmetic)].length
  return (countOf(6) - countOf(2)) / 4 / (128 / weightFormats[format].bits / 8)
}

test('the table of formats is that of the registry, and its counts those of the compiled code', () => {
  const rows = Object.entries(weightFormats).map(([name, f]: [string, WeightFormat]) => {
    const isInteger = f.activations.includes('i8')
    const hasZero = f.bits === 4 && isInteger
    const zeros: readonly ZeroHandling[] = hasZero ? ['epilogue', 'register'] : ['register']
    const counts = zeros.flatMap((zero) =>
      f.activations.map((x) => `${unpackingOf(name as WeightFormatName, zero, x)}`),
    )
    return [
      `\`${name}\``,
      `${f.bits}`,
      f.group === 0 ? 'row' : `${f.group}`,
      f.activations.join(', '),
      [...new Set(counts)].join(' / '),
      f.activations.includes('e4m3') ? '`wgmma`' : 'both',
      isInteger ? 'bit for bit' : 'to rounding',
    ]
  })
  assert.equal(
    table('formats').map((row) => [...row.slice(0, 4), ...row.slice(5, 8)]),
    rows,
  )
})

test('the tables of tile constants name those that there are', () => {
  // One whose sums have slices, and what else is left out where it is not wanted, for all constants.
  const shape = { M: 16, N: 4096, K: 8192 }
  const format = weightFormats['w4a16-g128']
  const tiles = defaultWgmmaTiles(format, shape, 'f16', { sharedBytes: 227 * 1024 }) as WgmmaTiles
  const { path: _, ...constants } = { ...tiles, band: 8, keep: 'weights', pieces: 2, halves: true, held: 20 }
  assert.equal(
    new Set(table('tiles').map(([name]) => name)),
    new Set(Object.keys(constants).map((name) => `\`${name}\``)),
  )
})

test.run()
