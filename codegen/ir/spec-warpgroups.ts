import { type WgmmaAtom, type WgmmaTypes, wgmmaAtom, wgmmaHas } from '../../dsl/atoms/wgmma.ts'
import type { Instruction } from './op.ts'
import type { OpSpec } from './spec.ts'

/**
 * The operations of Hopper's warpgroups: matrix products that run while the threads go on, registers that change hands,
 * barriers of some of a CTA's warps. Part of the grammar in `spec.ts`.
 */

/** The atom of a name such as `m64n256k32.u8s8`; undefined if there is none. */
export function wgmmaAtomOf(name: string): WgmmaAtom | undefined {
  const [, n, types] = /^m64n(\d+)k\d+\.(\w+)$/.exec(name) ?? []
  const atom = types && wgmmaHas(Number(n), types as WgmmaTypes) && wgmmaAtom(Number(n), types as WgmmaTypes)
  return atom && atom.name === name ? atom : undefined
}

/** The parts of a `wgmma`'s arguments. */
export function wgmmaParts({ args, attributes }: Instruction) {
  const aEnd = attributes.a === 'shared' ? 3 : 6
  return {
    accumulate: args[0]!,
    b: args[1]!,
    /** Four registers, or a descriptor. */
    a: args.slice(2, aEnd),
    /** The registers of the results; none when the product replaces them. */
    accumulators: args.slice(aEnd),
  }
}

function checkWgmma(node: Instruction): string | undefined {
  const { results, attributes } = node
  const atom = wgmmaAtomOf(attributes.atom as string)
  if (!atom) return `there is no atom ${attributes.atom}`
  const { accumulate, b, a, accumulators } = wgmmaParts(node)
  if (results.length !== atom.c.registers) return `the atom gives ${atom.c.registers} registers`
  if (results.some(({ type }) => type !== atom.c.dtype)) return `accumulators are of type ${atom.c.dtype}`
  if (accumulate?.type !== 'bool') return 'whether it accumulates is a bool'
  if (b?.type !== 'u64') return 'B is a descriptor'
  const [registers, type] = attributes.a === 'shared' ? [1, 'u64'] : [atom.a.registers, 'u32']
  if (a.length !== registers || a.some((arg) => arg.type !== type)) return `A is ${registers} ${type}`
  if (accumulators.length === 0)
    return accumulate.kind === 'immediate' && accumulate.value === 0 ? undefined : 'it reads its accumulators'
  const same = accumulators.every((arg, i) => arg.kind === 'register' && arg.id === results[i]?.id)
  return same && accumulators.length === results.length
    ? undefined
    : 'accumulators are updated in their registers'
}

const ofWarpgroup: OpSpec = { results: '', args: '', effect: 'write', scope: 'warpgroup' }
const registers: OpSpec = { ...ofWarpgroup, attributes: { count: 'integer' } }
const named: OpSpec = {
  results: '',
  args: 'S',
  where: { S: 'i32 u32' },
  attributes: { threads: 'integer' },
  effect: 'write',
  scope: 'warp',
}
const fp8 = ['e4m3', 'e5m2'] as const

export const warpgroupOps: Readonly<Record<string, OpSpec>> = {
  /** Whether it accumulates, the descriptor of B, A, and the accumulators, which are the results. */
  wgmma: {
    results: 'C+',
    args: 'X+',
    where: { C: 'i32 f32', X: 'i32 f32 u32 u64 bool' },
    attributes: { atom: 'text', a: ['registers', 'shared'] },
    effect: 'write',
    scope: 'warpgroup',
    inPlace: true,
    check: checkWgmma,
  },
  wgmmaFence: ofWarpgroup,
  wgmmaCommit: ofWarpgroup,
  wgmmaWait: { ...ofWarpgroup, attributes: { pending: 'integer' } },
  /** A matrix descriptor from its lower word, to which `offset` is added, and its upper word. */
  matrixDescriptor: {
    results: 'u64',
    args: 'u32',
    attributes: { offset: 'integer', upper: 'integer' },
    effect: 'none',
  },
  /** An address and the words that go there. */
  stmatrix: {
    results: '',
    args: 'u32 u32+',
    attributes: { 'transposed?': 'boolean', 'offset?': 'integer' },
    effect: 'write',
    scope: 'warp',
    check: ({ args }) => ([2, 3, 5].includes(args.length) ? undefined : 'it stores 1, 2 or 4 tiles'),
  },
  increaseRegisters: registers,
  decreaseRegisters: registers,
  namedBarrier: named,
  namedArrive: named,
  /** Two bytes from a lower and an upper float. */
  packFp8: { results: 'u32', args: 'f32 f32', attributes: { type: fp8 }, effect: 'none' },
  unpackFp8: { results: 'f16x2', args: 'u32', attributes: { type: fp8 }, effect: 'none' },
}
