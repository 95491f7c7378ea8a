import type { Instruction } from './op.ts'
import type { OpSpec } from './spec.ts'

/**
 * The operations of Hopper's asynchronous copies: barriers in shared memory, copies by the copy engine, clusters of CTAs
 * and launches that overlap. Part of the grammar in `spec.ts`.
 *
 * An address in the shared memory of this CTA, or of another one of the cluster (`peerAddress`), is a `u32`. The address
 * of a tensor map and a cache policy are `u64`.
 */

const ints = 'i32 u32'

/** An operation of no arguments that stays where it is. */
const alone = (scope?: OpSpec['scope']): OpSpec => ({
  results: '',
  args: '',
  effect: 'write',
  ...(scope && { scope }),
})

/** Columns and row, and behind them the slab. */
const checkCoordinates = ({ args }: Instruction): string | undefined =>
  [2, 3].includes(args.filter(({ type }) => type === 'i32').length)
    ? undefined
    : 'a tile has two or three coordinates'

export const asyncOps: Readonly<Record<string, OpSpec>> = {
  // ---- barriers in shared memory: the address, then what the operation takes
  initBarrier: {
    results: '',
    args: 'u32 S',
    where: { S: ints },
    attributes: { 'offset?': 'integer' },
    effect: 'write',
  },
  fenceBarrierInit: alone(),
  /** In the `cluster` space the address is one of `peerAddress`. */
  arrive: {
    results: '',
    args: 'u32',
    attributes: { space: ['shared', 'cluster'], 'offset?': 'integer' },
    effect: 'write',
  },
  arriveExpecting: {
    results: '',
    args: 'u32 S',
    where: { S: ints },
    attributes: { 'offset?': 'integer' },
    effect: 'write',
  },
  /** Waits for the phase of the parity given. */
  waitBarrier: {
    results: '',
    args: 'u32 S',
    where: { S: ints },
    attributes: { 'offset?': 'integer' },
    effect: 'write',
  },
  fenceAsync: alone(),

  // ---- copies: addresses, then a tile's coordinates or a number of bytes, and what may be left out
  /** Destination, source, barrier, bytes, and a cache policy. */
  copyBulk: {
    results: '',
    args: 'u32 address u32 S u64?',
    where: { S: ints },
    attributes: { 'sharedOffset?': 'integer', 'globalOffset?': 'integer', 'barrierOffset?': 'integer' },
    effect: 'write',
  },
  /** Destination, barrier, map, coordinates with the column first, the mask of a multicast, and a cache policy. */
  copyTensor: {
    results: '',
    args: 'u32 u32 u64 i32+ u32? u64?',
    attributes: { 'sharedOffset?': 'integer', 'barrierOffset?': 'integer' },
    effect: 'write',
    check: checkCoordinates,
  },
  /** Source, map, coordinates, and a cache policy. */
  storeTensor: {
    results: '',
    args: 'u32 u64 i32+ u64?',
    attributes: { 'sharedOffset?': 'integer' },
    effect: 'write',
    check: checkCoordinates,
  },
  /** Source, bytes. */
  prefetchBulk: {
    results: '',
    args: 'address S',
    where: { S: ints },
    attributes: { 'globalOffset?': 'integer' },
    effect: 'write',
  },
  /** Source, destination, bytes. */
  storeBulk: {
    results: '',
    args: 'u32 address S',
    where: { S: ints },
    attributes: { 'sharedOffset?': 'integer', 'globalOffset?': 'integer' },
    effect: 'write',
  },
  /** Source, destination, bytes. */
  addBulk: {
    results: '',
    args: 'u32 address S',
    where: { S: ints },
    attributes: {
      type: ['i32', 'u32', 'f32'],
      'sharedOffset?': 'integer',
      'globalOffset?': 'integer',
    },
    effect: 'write',
  },
  commitBulk: alone(),
  waitBulk: {
    results: '',
    args: '',
    attributes: { pending: 'integer', 'read?': 'boolean' },
    effect: 'write',
  },
  /** The address of the tensor map that is parameter `index`. */
  tensorMap: { results: 'u64', args: '', attributes: { index: 'integer' }, effect: 'none' },
  prefetchTensor: { results: '', args: 'u64', effect: 'write' },
  /** What L2 does with the lines of a copy. */
  cachePolicy: { results: 'u64', args: '', attributes: { evict: ['first', 'last'] }, effect: 'none' },

  // ---- clusters, and launches that overlap
  /** The address that one of this CTA's shared memory has in the CTA of a rank. */
  peerAddress: { results: 'u32', args: 'u32 S', where: { S: ints }, effect: 'none' },
  /** Relaxed: all CTAs meet, and nothing becomes visible. */
  clusterBarrier: { ...alone('cluster'), attributes: { 'relaxed?': 'boolean' } },
  launchDependents: alone(),
  waitForPrevious: alone(),
}
