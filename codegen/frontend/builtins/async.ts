import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Operand } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import { vectorBytes } from '../evaluate/access.ts'
import { Barriers, barrierBytes } from '../evaluate/barriers.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { readElement } from '../evaluate/cells.ts'
import { indexValue } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import type { Address, Index } from '../evaluate/memory.ts'
import { SharedTile, Tensor } from '../evaluate/memory.ts'
import { integerDivision } from '../evaluate/operators.ts'
import { requireCluster } from '../evaluate/peers.ts'
import type { TileBox } from '../evaluate/tensor-maps.ts'
import { boxOf, tensorMapOf } from '../evaluate/tensor-maps.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { Builtin, Computed, constantValue, DeviceValue, describe, isPlainObject } from '../evaluate/values.ts'
import { staticNumber } from './control.ts'
import { indexArgument, nameOf } from './memory.ts'

/** Barriers in shared memory, copies by the copy engine, clusters, and launches that overlap. */

// ---- arguments -------------------------------------------------------------------------------------------------------

/** An integer argument where the instruction takes a register or an immediate. */
function integer(ev: Evaluator, value: Value, what: string, site: CallSite, i: number): Operand {
  const index = indexValue(ev, value, argumentNode(site, i), what)
  return typeof index === 'number' ? immediate('i32', index) : index.operand
}

/** The address of the barrier that arguments `i` and `i + 1` name. */
function barrierArgument(
  ev: Evaluator,
  on: Value,
  index: Value,
  site: CallSite,
  i: number,
): { readonly at: Omit<Address, 'align'>; readonly barriers: Barriers } {
  if (on instanceof Barriers) return { at: on.address(ev, index, site, i + 1), barriers: on }
  throw ev.error('E0502', `this takes barriers, not ${describe(on)}`, argumentNode(site, i), {
    help: 'const full = barriers(n)',
  })
}

/** As `barrierArgument`, in this CTA alone. */
function ownBarrier(ev: Evaluator, on: Value, index: Value, site: CallSite, i: number) {
  const { at, barriers } = barrierArgument(ev, on, index, site, i)
  if (barriers.peer === undefined) return at
  throw ev.error('E0502', 'only arrive takes the barriers of another CTA', argumentNode(site, i), {})
}

function tileArgument(ev: Evaluator, value: Value, site: CallSite, i: number): SharedTile {
  if (value instanceof SharedTile && value.space === 'shared') return value
  const got = value instanceof SharedTile ? 'the tile of another CTA' : describe(value)
  throw ev.error(
    'E0502',
    `the copy engine takes a shared tile of this CTA here, not ${got}`,
    argumentNode(site, i),
    {},
  )
}

function tensorArgument(
  ev: Evaluator,
  value: Value,
  uses: readonly ('read' | 'write')[],
  site: CallSite,
  i: number,
): Tensor {
  const node = argumentNode(site, i)
  if (!(value instanceof Tensor))
    throw ev.error('E0502', `the copy engine takes a tensor here, not ${describe(value)}`, node, {})
  for (const use of uses) value.check(ev, use, node)
  return value
}

function checkTypes(ev: Evaluator, tile: SharedTile, tensor: Tensor, site: CallSite): void {
  if (tile.dtype === tensor.dtype) return
  throw ev.error('E0408', `${tile.name} holds ${tile.dtype} and ${tensor.name} holds ${tensor.dtype}`, site, {
    notes: [{ message: tile.describe() }, { message: tensor.describe() }],
    help: `shared('${tensor.dtype}', …)`,
  })
}

/** The policy that an `evict` option asks for, as an operand to append. */
function policyOf(ev: Evaluator, options: Value, site: CallSite, i: number): Operand[] {
  const evict = isPlainObject(options) ? options.evict : undefined
  if (evict === undefined) return []
  if (evict === 'first' || evict === 'last') return [ev.emitter.entryValue('cachePolicy', 'u64', { evict })]
  throw ev.error('E0502', `evict is 'first' or 'last', not ${describe(evict)}`, argumentNode(site, i), {})
}

// ---- barriers --------------------------------------------------------------------------------------------------------

const barriers = new Builtin('barriers', [1, 1], (ev, [n], site) => {
  const count = staticNumber(ev, n, 'the number of barriers', site)
  if (!Number.isInteger(count) || count < 1)
    throw ev.error(
      'E0502',
      `the number of barriers is a positive integer, not ${count}`,
      argumentNode(site, 0),
      {},
    )
  const id = ev.emitter.shared.length
  const name = nameOf(ev, id)
  const { location } = ev.emitter
  ev.emitter.shared.push({ id, name, bytes: count * barrierBytes, align: barrierBytes, location })
  return new Barriers(id, name, count)
})

/** A barrier of this CTA and one integer. */
const onBarrier = (name: string, what: string, check?: typeof checkArrivals): Builtin =>
  new Builtin(name, [3, 3], (ev, [on, index, value], site) => {
    const { register, offset } = ownBarrier(ev, on, index, site, 0)
    const operand = integer(ev, value, what, site, 2)
    if (operand.kind === 'immediate') check?.(ev, operand.value, site)
    ev.emitter.emit(name, [], [register, operand], { offset })
  })

/** Barriers count in 20 bits. */
const mostCounted = 2 ** 20 - 1

function checkArrivals(ev: Evaluator, n: number, site: CallSite): void {
  if (n >= 1 && n <= mostCounted) return
  throw ev.error(
    'E0502',
    `a barrier waits for 1 to ${mostCounted} arrivals, not ${n}`,
    argumentNode(site, 2),
    {},
  )
}

function checkAnnounced(ev: Evaluator, n: number, site: CallSite): void {
  if (n >= 0 && n <= mostCounted) return
  throw ev.error('E0502', `a barrier counts 0 to ${mostCounted} bytes, not ${n}`, argumentNode(site, 2), {
    help: 'load less in one stage',
  })
}

function checkParity(ev: Evaluator, n: number, site: CallSite): void {
  if (n === 0 || n === 1) return
  throw ev.error('E0502', `a parity is 0 or 1, not ${n}`, argumentNode(site, 2), {})
}

const arrive = new Builtin('arrive', [2, 2], (ev, [on, index], site) => {
  const { at, barriers } = barrierArgument(ev, on, index, site, 0)
  const space = barriers.peer === undefined ? 'shared' : 'cluster'
  ev.emitter.emit('arrive', [], [at.register], { space, offset: at.offset })
})

// ---- copies of bytes -------------------------------------------------------------------------------------------------

/** One end of a copy of bytes, which lie side by side from there on. */
function end(
  ev: Evaluator,
  memory: SharedTile | Tensor,
  index: readonly Index[],
  bytes: number | undefined,
  site: CallSite,
): Address {
  const address = memory.address(ev, index, site)
  const layout = memory instanceof SharedTile ? memory.info.layout : undefined
  if (vectorBytes(memory, address, 16) < 16 || layout?.swizzle)
    throw ev.error('E0416', `bytes of ${memory.name} are not aligned or not side by side here`, site, {
      notes: [{ message: memory.describe() }],
      help: 'a copy of bytes starts at a multiple of 16 bytes, in a tile without a swizzle',
    })
  if (layout && bytes !== undefined && address.offset + bytes > layout.cosize * dtypeBytes[memory.dtype])
    throw ev.error('E0406', `${bytes} bytes from here on leave ${memory.name}`, site, {
      notes: [{ message: memory.describe() }],
    })
  memory.accessed(16)
  return address
}

/** The number of bytes of a copy, and their operand. */
function bytesArgument(ev: Evaluator, value: Value, site: CallSite, i: number) {
  const operand = integer(ev, value, 'the number of bytes', site, i)
  if (operand.kind === 'register') return { operand, bytes: undefined }
  const bytes = operand.value
  if (bytes > 0 && bytes % 16 === 0) return { operand, bytes }
  throw ev.error('E0416', `a copy has a multiple of 16 bytes, not ${bytes}`, argumentNode(site, i), {
    help: `${Math.ceil(Math.max(bytes, 1) / 16) * 16} bytes, and tile and tensor large enough for them`,
  })
}

const copyBulk = new Builtin(
  'copyBulk',
  [7, 8],
  (ev, [dst, dstIndex, src, srcIndex, n, on, barrier, options], site) => {
    const tile = tileArgument(ev, dst, site, 0)
    const tensor = tensorArgument(ev, src, ['read'], site, 2)
    checkTypes(ev, tile, tensor, site)
    const { operand, bytes } = bytesArgument(ev, n, site, 4)
    const to = end(ev, tile, indexArgument(ev, tile, dstIndex, site, 1), bytes, site)
    const from = end(ev, tensor, indexArgument(ev, tensor, srcIndex, site, 3), bytes, site)
    const at = ownBarrier(ev, on, barrier, site, 5)
    ev.emitter.emit(
      'copyBulk',
      [],
      [to.register, from.register, at.register, operand, ...policyOf(ev, options, site, 7)],
      { sharedOffset: to.offset, globalOffset: from.offset, barrierOffset: at.offset },
    )
  },
)

/** `storeBulk` and `addBulk`: from shared to global memory. */
const toGlobal = (name: 'storeBulk' | 'addBulk'): Builtin =>
  new Builtin(name, [5, 5], (ev, [dst, dstIndex, src, srcIndex, n], site) => {
    const tensor = tensorArgument(ev, dst, name === 'addBulk' ? ['read', 'write'] : ['write'], site, 0)
    const tile = tileArgument(ev, src, site, 2)
    checkTypes(ev, tile, tensor, site)
    const type = tile.dtype
    if (name === 'addBulk' && type !== 'i32' && type !== 'u32' && type !== 'f32')
      throw ev.error('E0102', `addBulk adds i32, u32 and f32, and ${tile.name} holds ${type}`, site, {})
    const { operand, bytes } = bytesArgument(ev, n, site, 4)
    const to = end(ev, tensor, indexArgument(ev, tensor, dstIndex, site, 1), bytes, site)
    const from = end(ev, tile, indexArgument(ev, tile, srcIndex, site, 3), bytes, site)
    ev.emitter.emit(name, [], [from.register, to.register, operand], {
      ...(name === 'addBulk' && { type }),
      sharedOffset: from.offset,
      globalOffset: to.offset,
    })
  })

// ---- copies of tiles -------------------------------------------------------------------------------------------------

/** The coordinates of a tile's first element, innermost first. */
function coordinates(
  ev: Evaluator,
  origin: Value,
  { columns, slabs }: TileBox,
  site: CallSite,
  i: number,
): Operand[] {
  const node = argumentNode(site, i)
  if (!Array.isArray(origin) || origin.length !== 2)
    throw ev.error('E0502', `the origin is [row, column], not ${describe(origin)}`, node, {})
  const [row, column] = [0, 1].map((k) => indexValue(ev, readElement(ev, origin, k), node)) as [Index, Index]
  const operand = (index: Index): Operand =>
    typeof index === 'number' ? immediate('i32', index) : index.operand
  if (slabs === 0) return [operand(column), operand(row)]
  if (typeof column === 'number' && column % columns !== 0)
    throw ev.error(
      'E0416',
      `a tile of slabs begins at a multiple of their ${columns} columns, not at ${column}`,
      node,
      { help: 'to begin elsewhere, copy the slabs one by one: tile.row(slab)' },
    )
  const slab =
    typeof column === 'number'
      ? column / columns
      : integerDivision(ev, natural(column), constantValue('i32', columns))
  return [immediate('i32', 0), operand(row), operand(slab)]
}

/** Slabs are counted from the first column on. */
const natural = (column: DeviceValue): DeviceValue =>
  new DeviceValue(
    'i32',
    column.operand,
    { min: 0, max: Math.max(0, column.bounds.max) },
    column.base,
    column.plus,
  )

const copyTensor = new Builtin('copyTensor', [5, 6], (ev, [dst, src, origin, on, barrier, options], site) => {
  const tile = tileArgument(ev, dst, site, 0)
  const tensor = tensorArgument(ev, src, ['read'], site, 1)
  checkTypes(ev, tile, tensor, site)
  const box = boxOf(ev, tile, site)
  const map = tensorMapOf(ev, tensor, box, site)
  const at = ownBarrier(ev, on, barrier, site, 3)
  const to = tile.start(ev)
  const multicast = isPlainObject(options) ? readElement(ev, options, 'multicast') : undefined
  const mask: Operand[] = []
  if (multicast !== undefined) {
    requireCluster(ev, 'multicast', argumentNode(site, 5))
    const value = indexValue(ev, multicast, argumentNode(site, 5), 'multicast')
    mask.push(typeof value === 'number' ? immediate('u32', value) : unsigned(ev, value))
  }
  const args = [to.register, at.register, map, ...coordinates(ev, origin, box, site, 2), ...mask]
  ev.emitter.emit('copyTensor', [], [...args, ...policyOf(ev, options, site, 5)], {
    sharedOffset: to.offset,
    barrierOffset: at.offset,
  })
})

const unsigned = (ev: Evaluator, { operand }: DeviceValue): Operand =>
  operand.kind === 'immediate'
    ? immediate('u32', operand.value)
    : ev.emitter.value('bitcast', 'u32', [operand])

const storeTensor = new Builtin('storeTensor', [3, 3], (ev, [dst, origin, src], site) => {
  const tensor = tensorArgument(ev, dst, ['write'], site, 0)
  const tile = tileArgument(ev, src, site, 2)
  checkTypes(ev, tile, tensor, site)
  const box = boxOf(ev, tile, site)
  const map = tensorMapOf(ev, tensor, box, site)
  const from = tile.start(ev)
  ev.emitter.emit('storeTensor', [], [from.register, map, ...coordinates(ev, origin, box, site, 1)], {
    sharedOffset: from.offset,
  })
})

const prefetchTensor = new Builtin('prefetchTensor', [2, 2], (ev, [tile, tensor], site) => {
  const of = tensorArgument(ev, tensor, [], site, 1)
  const box = boxOf(ev, tileArgument(ev, tile, site, 0), site)
  ev.emitter.emit('prefetchTensor', [], [tensorMapOf(ev, of, box, site)])
})

// ---- the rest --------------------------------------------------------------------------------------------------------

const waitBulk = new Builtin('waitBulk', [1, 2], (ev, [n, options], site) => {
  const pending = staticNumber(ev, n, 'the number of pending groups', site)
  ev.emitter.emit('waitBulk', [], [], { pending, read: isPlainObject(options) && options.read === true })
})

/** What takes nothing, and gives nothing. */
const effect = (name: string): readonly [string, Builtin] => [
  name,
  new Builtin(name, [0, 0], (ev) => {
    ev.emitter.emit(name, [], [])
  }),
]

export const asyncBuiltins: readonly (readonly [string, Value])[] = [
  ['barriers', barriers],
  ['initBarrier', onBarrier('initBarrier', 'the number of arrivals', checkArrivals)],
  effect('fenceBarrierInit'),
  ['arrive', arrive],
  ['arriveExpecting', onBarrier('arriveExpecting', 'the number of bytes', checkAnnounced)],
  ['waitBarrier', onBarrier('waitBarrier', 'a parity', checkParity)],
  effect('fenceAsync'),
  ['copyBulk', copyBulk],
  ['copyTensor', copyTensor],
  ['prefetchTensor', prefetchTensor],
  ['storeTensor', storeTensor],
  ['storeBulk', toGlobal('storeBulk')],
  ['addBulk', toGlobal('addBulk')],
  effect('commitBulk'),
  ['waitBulk', waitBulk],
  [
    'clusterRank',
    new Computed((ev) => {
      if (ev.cluster === 1) return constantValue('i32', 0)
      const register = ev.emitter.entryValue('special', 'i32', { name: 'cluster_ctarank' })
      return new DeviceValue('i32', register, { min: 0, max: ev.cluster - 1 })
    }),
  ],
  ['clusterSize', new Computed((ev) => ev.cluster)],
  effect('clusterBarrier'),
  effect('launchDependents'),
  effect('waitForPrevious'),
]
