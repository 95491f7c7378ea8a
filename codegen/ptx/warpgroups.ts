import type { Instruction, Operand } from '../ir/op.ts'
import { integerOf } from '../ir/spec.ts'
import { wgmmaAtomOf, wgmmaParts } from '../ir/spec-warpgroups.ts'
import { immediate } from '../ir/value.ts'
import { elementNames } from './elements.ts'
import { address, vector } from './operands.ts'
import type { Writer } from './writer.ts'

/** How the operations of `ir/spec-warpgroups.ts` are written. */

type Write = (w: Writer, instruction: Instruction) => void

const fixed =
  (mnemonic: string): Write =>
  (w) =>
    w.line(mnemonic)

/** Integers take no immediates, floats the signs of A and B, and 16-bit floats whether a shared operand is transposed. */
function wgmma(w: Writer, node: Instruction): void {
  const { accumulate, b, a } = wgmmaParts(node)
  const atom = wgmmaAtomOf(node.attributes.atom as string)!
  const shared = node.attributes.a === 'shared'
  const names = (operands: readonly Operand[]) => operands.map((operand) => w.inRegister(operand))
  const signs = atom.c.dtype === 'f32' ? ['1', '1'] : []
  const transposed = atom.k === 16 ? (shared ? ['0', '0'] : ['0']) : []
  w.line(
    `wgmma.mma_async.sync.aligned.m64n${atom.n}k${atom.k}.${elementNames[atom.c.dtype]}` +
      `.${elementNames[atom.a.dtype]}.${elementNames[atom.b]}`,
    `{${names(node.results).join(', ')}}`,
    shared ? w.inRegister(a[0]!) : `{${names(a).join(', ')}}`,
    w.inRegister(b),
    w.inRegister(accumulate),
    ...signs,
    ...transposed,
  )
}

function matrixDescriptor(w: Writer, { results, args, attributes }: Instruction): void {
  const offset = attributes.offset as number
  let lower = w.inRegister(args[0]!)
  if (offset !== 0) {
    const moved = w.registers.fresh('u32')
    w.line('add.u32', moved, lower, String(offset))
    lower = moved
  }
  const upper = w.inRegister(immediate('u32', attributes.upper as number))
  w.line('mov.b64', w.name(results[0]!), `{${lower}, ${upper}}`)
}

function stmatrix(w: Writer, { args, attributes }: Instruction): void {
  const [base, ...words] = args as [Operand, ...Operand[]]
  w.line(
    `stmatrix.sync.aligned.m8n8.x${words.length}${attributes.transposed ? '.trans' : ''}.shared.b16`,
    address(w, base, integerOf(attributes, 'offset')),
    `{${vectorOf(w, words)}}`,
  )
}

const vectorOf = (w: Writer, words: readonly Operand[]): string =>
  words.map((word) => w.inRegister(word)).join(', ')

const registers =
  (direction: 'inc' | 'dec'): Write =>
  (w, { attributes }) =>
    w.line(`setmaxnreg.${direction}.sync.aligned.u32`, String(attributes.count))

const named =
  (action: 'sync' | 'arrive'): Write =>
  (w, { args, attributes }) =>
    w.line(`bar.${action}`, w.operand(args[0]!), String(attributes.threads))

/** `cvt` takes the upper float first. */
function packFp8(w: Writer, { results, args, attributes }: Instruction): void {
  const pair = w.registers.fresh('f16')
  const [lower, upper] = args as [Operand, Operand]
  w.line(`cvt.rn.satfinite.${attributes.type}x2.f32`, pair, w.operand(upper), w.operand(lower))
  w.line('mov.b32', w.name(results[0]!), vector([pair, w.inRegister(immediate('f16', 0))]))
}

function unpackFp8(w: Writer, { results, args, attributes }: Instruction): void {
  const [pair, rest] = [w.registers.fresh('f16'), w.registers.fresh('f16')]
  w.line('mov.b32', vector([pair, rest]), w.inRegister(args[0]!))
  w.line(`cvt.rn.f16x2.${attributes.type}x2`, w.name(results[0]!), pair)
}

export const warpgroupWriters: Readonly<Record<string, Write>> = {
  wgmma,
  wgmmaFence: fixed('wgmma.fence.sync.aligned'),
  wgmmaCommit: fixed('wgmma.commit_group.sync.aligned'),
  wgmmaWait: (w, { attributes }) => w.line('wgmma.wait_group.sync.aligned', String(attributes.pending)),
  matrixDescriptor,
  stmatrix,
  increaseRegisters: registers('inc'),
  decreaseRegisters: registers('dec'),
  namedBarrier: named('sync'),
  namedArrive: named('arrive'),
  packFp8,
  unpackFp8,
}
