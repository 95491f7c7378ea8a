import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Operand } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import { vectorBytes } from '../evaluate/access.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { readElement } from '../evaluate/cells.ts'
import { bitcast, indexValue } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import type { Address, Index } from '../evaluate/memory.ts'
import { SharedTile, Tensor } from '../evaluate/memory.ts'
import { integerDivision } from '../evaluate/operators.ts'
import { requireCluster } from '../evaluate/peers.ts'
import type { TileBox } from '../evaluate/tensor-maps.ts'
import { boxOf, tensorMapOf } from '../evaluate/tensor-maps.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { Builtin, constantValue, DeviceValue, describe, isPlainObject } from '../evaluate/values.ts'
import { integer, ownBarrier } from './barriers.ts'
import { count } from './control.ts'
import { indexArgument } from './memory.ts'
import { effect } from './warp.ts'

/** Copies by the copy engine: of bytes that lie side by side, and of tiles. */

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

const prefetchBulk = new Builtin('prefetchBulk', [3, 3], (ev, [src, index, n], site) => {
  const tensor = tensorArgument(ev, src, ['read'], site, 0)
  const { operand, bytes } = bytesArgument(ev, n, site, 2)
  const from = end(ev, tensor, indexArgument(ev, tensor, index, site, 1), bytes, site)
  ev.emitter.emit('prefetchBulk', [], [from.register, operand], { globalOffset: from.offset })
})

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

/** The CTAs that a copy goes to, a bit for each. */
function maskOf(ev: Evaluator, multicast: Value, site: CallSite, i: number): Operand {
  const node = argumentNode(site, i)
  requireCluster(ev, 'multicast', node)
  const mask = indexValue(ev, multicast, node, 'multicast')
  if (mask instanceof DeviceValue) return bitcast(ev, mask, 'u32').operand
  const all = 2 ** ev.cluster - 1
  if (mask > 0 && mask <= all) return immediate('u32', mask)
  throw ev.error(
    'E0504',
    `multicast is a mask of the ${ev.cluster} CTAs of the cluster, 1 to ${all}, and not ${mask}`,
    node,
    {},
  )
}

const copyTensor = new Builtin('copyTensor', [5, 6], (ev, [dst, src, origin, on, barrier, options], site) => {
  const tile = tileArgument(ev, dst, site, 0)
  const tensor = tensorArgument(ev, src, ['read'], site, 1)
  checkTypes(ev, tile, tensor, site)
  const box = boxOf(ev, tile, site)
  const map = tensorMapOf(ev, tensor, box, site)
  const at = ownBarrier(ev, on, barrier, site, 3)
  const to = tile.start(ev)
  const multicast = isPlainObject(options) ? readElement(ev, options, 'multicast') : undefined
  const mask = multicast === undefined ? [] : [maskOf(ev, multicast, site, 5)]
  const args = [to.register, at.register, map, ...coordinates(ev, origin, box, site, 2), ...mask]
  ev.emitter.emit('copyTensor', [], [...args, ...policyOf(ev, options, site, 5)], {
    sharedOffset: to.offset,
    barrierOffset: at.offset,
  })
})

const storeTensor = new Builtin('storeTensor', [3, 4], (ev, [dst, origin, src, options], site) => {
  const tensor = tensorArgument(ev, dst, ['write'], site, 0)
  const tile = tileArgument(ev, src, site, 2)
  checkTypes(ev, tile, tensor, site)
  const box = boxOf(ev, tile, site)
  const map = tensorMapOf(ev, tensor, box, site)
  const from = tile.start(ev)
  const args = [from.register, map, ...coordinates(ev, origin, box, site, 1)]
  ev.emitter.emit('storeTensor', [], [...args, ...policyOf(ev, options, site, 3)], {
    sharedOffset: from.offset,
  })
})

const prefetchTensor = new Builtin('prefetchTensor', [2, 2], (ev, [tile, tensor], site) => {
  const of = tensorArgument(ev, tensor, [], site, 1)
  const box = boxOf(ev, tileArgument(ev, tile, site, 0), site)
  ev.emitter.emit('prefetchTensor', [], [tensorMapOf(ev, of, box, site)])
})

const waitBulk = new Builtin('waitBulk', [1, 2], (ev, [n, options], site) => {
  const pending = count(ev, n, 'the number of pending groups', site)
  ev.emitter.emit('waitBulk', [], [], { pending, read: isPlainObject(options) && options.read === true })
})

export const copyEngine: readonly (readonly [string, Value])[] = [
  ['fenceAsync', effect('fenceAsync')],
  ['copyBulk', copyBulk],
  ['storeBulk', toGlobal('storeBulk')],
  ['addBulk', toGlobal('addBulk')],
  ['copyTensor', copyTensor],
  ['storeTensor', storeTensor],
  ['prefetchBulk', prefetchBulk],
  ['prefetchTensor', prefetchTensor],
  ['commitBulk', effect('commitBulk')],
  ['waitBulk', waitBulk],
]
