import type { Attributes, Instruction, Operand } from '../ir/op.ts'
import { integerOf } from '../ir/spec.ts'
import { address, vector } from './operands.ts'
import type { Writer } from './writer.ts'

/** How the operations of `ir/spec-async.ts` are written. */

type Write = (w: Writer, instruction: Instruction) => void

const fixed =
  (mnemonic: string): Write =>
  (w) =>
    w.line(mnemonic)

/** The address of a barrier, then one operand. */
const onBarrier =
  (mnemonic: string, before: readonly string[] = []): Write =>
  (w, { args, attributes }) =>
    w.line(mnemonic, ...before, address(w, args[0]!, integerOf(attributes, 'offset')), w.operand(args[1]!))

/** Arrivals whose state nobody reads. Without `.release.cluster`, which costs a fence of the whole GPU each. */
function arrive(w: Writer, { args, attributes }: Instruction): void {
  const where = attributes.space === 'cluster' ? 'cluster' : 'cta'
  const at = address(w, args[0]!, integerOf(attributes, 'offset'))
  w.line(`mbarrier.arrive.shared::${where}.b64`, '_', at)
}

/** `try_wait` gives up after a while that the hardware chooses. */
function waitBarrier(w: Writer, instruction: Instruction): void {
  const label = `$wait${w.nextLabel()}`
  const done = w.registers.fresh('bool')
  w.label(label)
  onBarrier('mbarrier.try_wait.parity.shared::cta.b64', [done])(w, instruction)
  w.guard = `@!${done} `
  w.line('bra', label)
  w.guard = ''
}

/** An address with the attribute that is added to it. */
const offsetBy =
  (name: string) =>
  (w: Writer, operand: Operand, attributes: Attributes): string =>
    address(w, operand, integerOf(attributes, name))

const shared = offsetBy('sharedOffset')
const global = offsetBy('globalOffset')
const barrier = offsetBy('barrierOffset')

const hinted = (policy: Operand | undefined): string => (policy ? '.L2::cache_hint' : '')

function copyBulk(w: Writer, { args, attributes }: Instruction): void {
  const [dst, src, on, bytes, policy] = args as [Operand, Operand, Operand, Operand, Operand?]
  w.line(
    `cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes${hinted(policy)}`,
    shared(w, dst, attributes),
    global(w, src, attributes),
    w.operand(bytes),
    barrier(w, on, attributes),
    ...(policy ? [w.inRegister(policy)] : []),
  )
}

/** `[map, {c0, c1}]`. */
const place = (w: Writer, map: Operand, coordinates: readonly Operand[]): string =>
  `[${w.inRegister(map)}, ${vector(coordinates.map((c) => w.operand(c)))}]`

function copyTensor(w: Writer, { args, attributes }: Instruction): void {
  const [dst, on, map, ...rest] = args as [Operand, Operand, Operand, ...Operand[]]
  const coordinates = rest.filter(({ type }) => type === 'i32')
  const mask = rest.find(({ type }) => type === 'u32')
  const policy = rest.find(({ type }) => type === 'u64')
  w.line(
    `cp.async.bulk.tensor.${coordinates.length}d.shared::cluster.global.mbarrier::complete_tx::bytes` +
      `${mask ? '.multicast::cluster' : ''}${hinted(policy)}`,
    shared(w, dst, attributes),
    place(w, map, coordinates),
    barrier(w, on, attributes),
    ...(mask ? [maskOf(w, mask)] : []),
    ...(policy ? [w.inRegister(policy)] : []),
  )
}

/** The mask of a multicast has 16 bits. */
function maskOf(w: Writer, mask: Operand): string {
  if (mask.kind === 'immediate') return String(mask.value & 0xffff)
  const half = w.registers.fresh('u8')
  w.line('cvt.u16.u32', half, w.name(mask))
  return half
}

function storeTensor(w: Writer, { args, attributes }: Instruction): void {
  const [src, map, ...rest] = args as [Operand, Operand, ...Operand[]]
  const coordinates = rest.filter(({ type }) => type === 'i32')
  const policy = rest.find(({ type }) => type === 'u64')
  w.line(
    `cp.async.bulk.tensor.${coordinates.length}d.global.shared::cta.bulk_group${hinted(policy)}`,
    place(w, map, coordinates),
    shared(w, src, attributes),
    ...(policy ? [w.inRegister(policy)] : []),
  )
}

const toGlobal =
  (mnemonic: (attributes: Attributes) => string): Write =>
  (w, { args, attributes }) => {
    const [src, dst, bytes] = args as [Operand, Operand, Operand]
    w.line(mnemonic(attributes), global(w, dst, attributes), shared(w, src, attributes), w.operand(bytes))
  }

const sums = { i32: 's32', u32: 'u32', f32: 'f32' } as const

export const asyncWriters: Readonly<Record<string, Write>> = {
  initBarrier: onBarrier('mbarrier.init.shared::cta.b64'),
  fenceBarrierInit: fixed('fence.mbarrier_init.release.cluster'),
  arrive,
  arriveExpecting: onBarrier('mbarrier.arrive.expect_tx.shared::cta.b64', ['_']),
  waitBarrier,
  fenceAsync: fixed('fence.proxy.async.shared::cta'),
  copyBulk,
  copyTensor,
  storeTensor,
  storeBulk: toGlobal(() => 'cp.async.bulk.global.shared::cta.bulk_group'),
  addBulk: toGlobal(
    ({ type }) => `cp.reduce.async.bulk.global.shared::cta.bulk_group.add.${sums[type as 'i32']}`,
  ),
  commitBulk: fixed('cp.async.bulk.commit_group'),
  waitBulk: (w, { attributes }) =>
    w.line(`cp.async.bulk.wait_group${attributes.read ? '.read' : ''}`, String(attributes.pending)),
  /** The address of a parameter is in the constant bank; the copy engine takes generic ones. */
  tensorMap: (w, { results, attributes }) => {
    const param = w.registers.fresh('u64')
    w.line('mov.b64', param, `param_${attributes.index}`)
    w.line('cvta.param.u64', w.name(results[0]!), param)
  },
  prefetchBulk: (w, { args, attributes }) =>
    w.line('cp.async.bulk.prefetch.L2.global', global(w, args[0]!, attributes), w.operand(args[1]!)),
  prefetchTensor: (w, { args }) => w.line('prefetch.tensormap', address(w, args[0]!, 0)),
  cachePolicy: (w, { results, attributes }) =>
    w.line(`createpolicy.fractional.L2::evict_${attributes.evict}.b64`, w.name(results[0]!), '1.0'),
  peerAddress: (w, { results, args }) =>
    w.line('mapa.shared::cluster.u32', w.name(results[0]!), w.inRegister(args[0]!), w.operand(args[1]!)),
  clusterBarrier: (w, { attributes }) => {
    w.line(`barrier.cluster.arrive.${attributes.relaxed ? 'relaxed' : 'release'}.aligned`)
    w.line('barrier.cluster.wait.acquire.aligned')
  },
  launchDependents: fixed('griddepcontrol.launch_dependents'),
  waitForPrevious: fixed('griddepcontrol.wait'),
}
