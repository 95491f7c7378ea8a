import type { DType } from '../../../dsl/dtype.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Layout } from '../../../dsl/layout/index.ts'
import { isLayout, rowMajor } from '../../../dsl/layout/index.ts'
import type { Operand } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import { loadRun, storeRun, vectorBytes } from '../evaluate/access.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { readElement, readElements, track } from '../evaluate/cells.ts'
import { coerce, indexValue } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { conditionOf } from '../evaluate/evaluator.ts'
import type { Index, Memory } from '../evaluate/memory.ts'
import { fullIndex, isMemory, pieces, SharedTile, Tensor } from '../evaluate/memory.ts'
import { neighboursOf, swizzleOf } from '../evaluate/tile-layout.ts'
import type { CallSite, ScalarType, Value } from '../evaluate/values.ts'
import { Builtin, DeviceValue, describe, isPlainObject, registerType } from '../evaluate/values.ts'
import type { Expression } from '../syntax.ts'
import { staticNumber } from './control.ts'

/** `shared`, `load`, `store`, asynchronous copies, `ldmatrix` and atomics. */

export function memoryArgument(ev: Evaluator, value: Value, what: string, site: CallSite, i: number): Memory {
  if (isMemory(value)) return value
  throw ev.error(
    'E0502',
    `${what} is a tensor or a shared tile, not ${describe(value)}`,
    argumentNode(site, i),
    {},
  )
}

export function indexArgument(
  ev: Evaluator,
  memory: Memory,
  value: Value,
  site: CallSite,
  i: number,
): Index[] {
  if (!Array.isArray(value)) {
    throw ev.error(
      'E0502',
      `the index is an array, [i, j], not ${describe(value)}`,
      argumentNode(site, i),
      {},
    )
  }
  const node = argumentNode(site, i)
  const elements = value.map((_, k) => indexValue(ev, readElement(ev, value, k), node))
  return fullIndex(ev, memory, elements, node)
}

function cacheOf(ev: Evaluator, access: Value, site: CallSite, i: number): string {
  if (access === undefined) return ''
  const cache = isPlainObject(access) ? access.cache : undefined
  if (cache === undefined) return ''
  if (typeof cache === 'string' && ['ca', 'cg', 'cs', 'nc', 'relaxed'].includes(cache)) return cache
  throw ev.error(
    'E0502',
    `cache is 'ca', 'cg', 'cs', 'nc' or 'relaxed', not ${describe(cache)}`,
    argumentNode(site, i),
    {},
  )
}

function countOf(ev: Evaluator, value: Value, site: CallSite, i: number): number {
  const n = staticNumber(ev, value, 'the number of elements', site, i)
  if (Number.isInteger(n) && n > 0) return n
  throw ev.error('E0502', `the number of elements is a positive integer, not ${n}`, argumentNode(site, i), {})
}

/** Static indices past the end of the last dimension are seen here; run-time ones by the emulator. */
export function checkEnd(
  ev: Evaluator,
  memory: Memory,
  index: readonly Index[],
  n: number,
  site: CallSite,
): void {
  const extent = memory instanceof Tensor ? memory.extents.at(-1) : (memory as SharedTile).shape.at(-1)
  const last = index.at(-1)
  if (typeof extent !== 'number') return
  const start = typeof last === 'number' ? last : 0
  if (start + n <= extent) return
  throw ev.error(
    'E0406',
    `${n} elements from ${start} leave the last dimension of ${memory.name}, which has ${extent}`,
    site,
    {
      notes: [{ message: memory.describe() }],
    },
  )
}

const load = new Builtin('load', [3, 4], (ev, [src, index, n, access], site) => {
  const memory = memoryArgument(ev, src, 'the source of load', site, 0)
  memory.check(ev, 'read', argumentNode(site, 0))
  const at = indexArgument(ev, memory, index, site, 1)
  const count = countOf(ev, n, site, 2)
  checkEnd(ev, memory, at, count, site)
  const cache = cacheOf(ev, access, site, 3)
  const values = pieces(ev, memory, at, count).flatMap((piece) =>
    loadRun(ev, memory, memory.address(ev, piece.index, site), piece.count, cache),
  )
  return track(ev, values)
})

const store = new Builtin('store', [3, 4], (ev, [dst, index, values, access], site) => {
  const memory = memoryArgument(ev, dst, 'the destination of store', site, 0)
  memory.check(ev, 'write', argumentNode(site, 0))
  const at = indexArgument(ev, memory, index, site, 1)
  const stored = valuesArgument(ev, values, memory.dtype, site, 2)
  checkEnd(ev, memory, at, stored.length, site)
  const cache = cacheOf(ev, access, site, 3)
  let from = 0
  for (const { index: start, count } of pieces(ev, memory, at, stored.length)) {
    storeRun(ev, memory, memory.address(ev, start, site), stored.slice(from, from + count), cache)
    from += count
  }
})

export function valuesArgument(
  ev: Evaluator,
  values: Value,
  type: ScalarType,
  site: CallSite,
  i: number,
): DeviceValue[] {
  const node = argumentNode(site, i)
  if (!Array.isArray(values) || values.length === 0) {
    throw ev.error('E0502', `expected an array of ${type}, not ${describe(values)}`, node, {})
  }
  return readElements(ev, values).map((v) => coerce(ev, v, type, node))
}

/** A memory seen as 32-bit words: same bytes, other elements. */
function asWords(memory: Memory): Memory {
  return {
    space: memory.space,
    dtype: 'u32',
    name: memory.name,
    neighbours: {
      contiguous: memory.neighbours.contiguous,
      aligned: Math.max(1, (memory.neighbours.aligned * dtypeBytes[memory.dtype]) / 4),
    },
    check: memory.check.bind(memory),
    address: memory.address.bind(memory),
    accessed: memory.accessed.bind(memory),
    member: memory.member.bind(memory),
    describe: memory.describe.bind(memory),
  }
}

/** Addresses of `words` words, with how many lie side by side from each. */
function wordPieces(ev: Evaluator, memory: Memory, at: readonly Index[], words: number, site: CallSite) {
  const size = dtypeBytes[memory.dtype]
  const elements = (4 * words) / size
  checkEnd(ev, memory, at, elements, site)
  return pieces(ev, memory, at, elements).map(({ index, count }) => {
    const address = memory.address(ev, index, site)
    if ((count * size) % 4 === 0 && vectorBytes(memory, address, 4) === 4) {
      return { address, count: (count * size) / 4 }
    }
    throw ev.error('E0407', `32-bit words of ${memory.name} are not aligned or not side by side here`, site, {
      notes: [{ message: memory.describe() }],
      help: 'rows and static offsets must be multiples of 4 bytes',
    })
  })
}

const loadWords = new Builtin('loadWords', [3, 4], (ev, [src, index, n, access], site) => {
  const memory = memoryArgument(ev, src, 'the source of loadWords', site, 0)
  memory.check(ev, 'read', argumentNode(site, 0))
  const at = indexArgument(ev, memory, index, site, 1)
  const count = countOf(ev, n, site, 2)
  const cache = cacheOf(ev, access, site, 3)
  const words = wordPieces(ev, memory, at, count, site).flatMap((piece) =>
    loadRun(ev, asWords(memory), piece.address, piece.count, cache),
  )
  return track(ev, words)
})

const storeWords = new Builtin('storeWords', [3, 4], (ev, [dst, index, words, access], site) => {
  const memory = memoryArgument(ev, dst, 'the destination of storeWords', site, 0)
  memory.check(ev, 'write', argumentNode(site, 0))
  const at = indexArgument(ev, memory, index, site, 1)
  const stored = valuesArgument(ev, words, 'u32', site, 2)
  const cache = cacheOf(ev, access, site, 3)
  let from = 0
  for (const { address, count } of wordPieces(ev, memory, at, stored.length, site)) {
    storeRun(ev, asWords(memory), address, stored.slice(from, from + count), cache)
    from += count
  }
})

const addFloats = new Builtin('addFloats', [3, 3], (ev, [dst, index, values], site) => {
  const memory = memoryArgument(ev, dst, 'the destination of addFloats', site, 0)
  if (memory.space !== 'global')
    throw ev.error('E0502', 'addFloats adds to a tensor', argumentNode(site, 0), {})
  memory.check(ev, 'read', argumentNode(site, 0))
  memory.check(ev, 'write', argumentNode(site, 0))
  const at = indexArgument(ev, memory, index, site, 1)
  const added = valuesArgument(ev, values, 'f32', site, 2).map(({ operand }) => operand)
  let from = 0
  for (const { address, count } of wordPieces(ev, memory, at, added.length, site)) {
    const { register, offset } = address
    const width = vectorBytes(asWords(memory), address, 4 * count)
    memory.accessed(width)
    for (const end = from + count; from < end; from += width / 4) {
      const run = added.slice(from, from + width / 4)
      ev.emitter.emit('reduce', [], [register, ...run], { offset: offset + 4 * (from - end + count) })
    }
  }
})

/** The element type, layout and extents that `shared` and `overlay` are given, from argument `first` on. */
function tileOf(ev: Evaluator, name: string, dtype: Value, shape: Value, site: CallSite, first: number) {
  if (typeof dtype !== 'string' || !(dtype in dtypeBytes)) {
    throw ev.error(
      'E0502',
      `${name} takes an element type, not ${describe(dtype)}`,
      argumentNode(site, first),
      {
        help: "shared('f16', [rows, columns])",
      },
    )
  }
  const tileWith = (layout: Layout, extents: readonly number[]) => ({
    dtype: dtype as DType,
    layout,
    shape: extents,
    neighbours: neighboursOf(layout, extents),
  })
  if (isLayout(shape)) {
    const extents = Array.from({ length: shape.rank }, (_, i) =>
      sizeOf(Array.isArray(shape.shape) ? shape.shape[i] : shape.shape),
    )
    return tileWith(shape, extents)
  }
  if (Array.isArray(shape) && shape.length > 0) {
    const extents = shape.map((n) => {
      if (typeof n === 'number' && Number.isInteger(n) && n > 0) return n
      throw ev.error(
        'E0502',
        `an extent of a shared tile is a static positive integer, not ${describe(n)}`,
        argumentNode(site, first + 1),
        {},
      )
    })
    return tileWith(rowMajor(extents), extents)
  }
  throw ev.error(
    'E0502',
    `${name} takes a shape or a layout, not ${describe(shape)}`,
    argumentNode(site, first + 1),
    {},
  )
}

const shared = new Builtin('shared', [2, 2], (ev, [dtype, shape], site) => {
  const tile = tileOf(ev, 'shared', dtype, shape, site, 0)
  const bytes = tile.layout.cosize * dtypeBytes[tile.dtype]
  const id = ev.emitter.shared.length
  const name = nameOf(ev, id)
  const swizzle = swizzleOf(tile.layout, tile.shape, tile.dtype)
  const align = swizzle === undefined ? 16 : 8 * swizzle
  ev.emitter.shared.push({ id, name, bytes, align, location: ev.emitter.location })
  return new SharedTile({ id, name, ...tile })
})

const overlay = new Builtin('overlay', [3, 3], (ev, [below, dtype, shape], site) => {
  const tile = tileOf(ev, 'overlay', dtype, shape, site, 1)
  if (!(below instanceof SharedTile) || below.rank !== below.shape.length) {
    throw ev.error('E0502', `overlay takes a whole tile, not ${describe(below)}`, argumentNode(site, 0), {})
  }
  const { bytes, name } = ev.emitter.shared.find(({ id }) => id === below.id)!
  const needed = tile.layout.cosize * dtypeBytes[tile.dtype]
  if (needed > bytes) {
    throw ev.error('E0502', `${name} has ${bytes} bytes, and the overlay needs ${needed}`, site, {})
  }
  const swizzle = swizzleOf(tile.layout, tile.shape, tile.dtype)
  if (swizzle !== undefined) ev.emitter.alignShared(below.id, 8 * swizzle)
  return new SharedTile({ id: below.id, name, ...tile })
})

/** The variable that a tile is declared as, for messages. */
export function nameOf(ev: Evaluator, id: number): string {
  const { statement } = ev.frame
  const target = statement?.kind === 'variable' ? statement.declarations[0]?.target : undefined
  return target?.kind === 'identifier' ? target.name : `tile ${id}`
}

const sizeOf = (extent: unknown): number =>
  Array.isArray(extent) ? extent.reduce((product: number, e) => product * sizeOf(e), 1) : (extent as number)

const copyAsync = new Builtin('copyAsync', [5, 6], (ev, [dst, dstIndex, src, srcIndex, n, valid], site) => {
  const to = memoryArgument(ev, dst, 'the destination of copyAsync', site, 0)
  const from = memoryArgument(ev, src, 'the source of copyAsync', site, 2)
  if (to.space !== 'shared' || from.space !== 'global') {
    throw ev.error('E0502', 'copyAsync copies from a tensor to a shared tile', site, {
      help: 'copyAsync(tile, [i, j], tensor, [m, k], 16)',
    })
  }
  from.check(ev, 'read', argumentNode(site, 2))
  const bytes = staticNumber(ev, n, 'the number of bytes', site, 4)
  if (bytes !== 4 && bytes !== 8 && bytes !== 16) {
    throw ev.error('E0502', `copyAsync copies 4, 8 or 16 bytes, not ${bytes}`, argumentNode(site, 4), {})
  }
  if (to.dtype !== from.dtype) {
    throw ev.error('E0408', `${to.name} holds ${to.dtype} and ${from.name} holds ${from.dtype}`, site, {
      notes: [{ message: to.describe() }, { message: from.describe() }],
      help: `shared('${from.dtype}', …)`,
    })
  }
  const toIndex = indexArgument(ev, to, dstIndex, site, 1)
  const fromIndex = indexArgument(ev, from, srcIndex, site, 3)
  checkEnd(ev, to, toIndex, bytes / dtypeBytes[to.dtype], site)
  checkEnd(ev, from, fromIndex, bytes / dtypeBytes[from.dtype], site)
  const target = to.address(ev, toIndex, site)
  const source = from.address(ev, fromIndex, site)
  for (const [memory, address] of [
    [to, target],
    [from, source],
  ] as const) {
    if (vectorBytes(memory, address, bytes) < bytes) {
      throw ev.error(
        'E0407',
        `${bytes} bytes of ${memory.name} are not aligned or not side by side here`,
        site,
        {
          notes: [{ message: memory.describe() }],
          help: `rows and static offsets must be multiples of ${bytes} bytes, and a swizzle must keep ${bytes} bytes together`,
        },
      )
    }
  }
  from.accessed(bytes)
  const args: Operand[] = [target.register, source.register]
  const present = valid === undefined ? true : conditionOf(ev, valid, argumentNode(site, 5) as Expression)
  if (present === false) args.push(immediate('u32', 0))
  if (present instanceof DeviceValue) {
    args.push(
      ev.emitter.value('select', 'u32', [present.operand, immediate('u32', bytes), immediate('u32', 0)]),
    )
  }
  ev.emitter.emit('copyAsync', [], args, {
    bytes,
    cache: bytes === 16 ? 'cg' : 'ca',
    sharedOffset: target.offset,
    globalOffset: source.offset,
  })
})

const ldmatrix = new Builtin('ldmatrix', [3, 4], (ev, [tile, index, n, options], site) => {
  const memory = memoryArgument(ev, tile, 'the source of ldmatrix', site, 0)
  if (memory.space !== 'shared')
    throw ev.error('E0502', 'ldmatrix reads a shared tile', argumentNode(site, 0), {})
  const count = staticNumber(ev, n, 'the number of matrices', site, 2)
  if (count !== 1 && count !== 2 && count !== 4) {
    throw ev.error('E0502', `ldmatrix loads 1, 2 or 4 matrices, not ${count}`, argumentNode(site, 2), {})
  }
  const at = indexArgument(ev, memory, index, site, 1)
  checkEnd(ev, memory, at, 16 / dtypeBytes[memory.dtype], site)
  const address = memory.address(ev, at, site)
  if (vectorBytes(memory, address, 16) < 16) {
    throw ev.error('E0407', `16 bytes of ${memory.name} are not aligned or not side by side here`, site, {
      notes: [{ message: memory.describe() }],
      help: 'rows must be multiples of 16 bytes, and a swizzle must keep 16 bytes together',
    })
  }
  const transposed = isPlainObject(options) && options.transposed === true
  const words = Array.from({ length: count }, () => ev.emitter.register('u32'))
  ev.emitter.emit('ldmatrix', words, [address.register], { transposed, offset: address.offset })
  return track(
    ev,
    words.map((word) => new DeviceValue('u32', word)),
  )
})

function atomic(name: string, fn: string, types: readonly ScalarType[], operands = 1): Builtin {
  return new Builtin(name, [2 + operands, 2 + operands], (ev, [dst, index, ...values], site) => {
    const memory = memoryArgument(ev, dst, `the destination of ${name}`, site, 0)
    memory.check(ev, 'read', argumentNode(site, 0))
    memory.check(ev, 'write', argumentNode(site, 0))
    if (memory.space === 'cluster')
      throw ev.error('E0502', `${name} works in the shared memory of its own CTA`, argumentNode(site, 0), {})
    const { dtype } = memory
    if (!types.includes(dtype)) {
      throw ev.error(
        'E0102',
        `${name} works on ${types.join(', ')}, and ${memory.name} holds ${dtype}`,
        site,
        {},
      )
    }
    const at = indexArgument(ev, memory, index, site, 1)
    const operand = values.map((v, i) => coerce(ev, v, dtype, argumentNode(site, 2 + i)).operand)
    const { register, offset } = memory.address(ev, at, site)
    memory.accessed(4)
    const attributes = { space: memory.space, offset, fn }
    return new DeviceValue(
      dtype,
      ev.emitter.value('atomic', registerType(dtype), [register, ...operand], attributes),
    )
  })
}

export const memoryBuiltins: readonly (readonly [string, Value])[] = [
  ['load', load],
  ['store', store],
  ['loadWords', loadWords],
  ['storeWords', storeWords],
  ['shared', shared],
  ['overlay', overlay],
  ['copyAsync', copyAsync],
  ['ldmatrix', ldmatrix],
  ['addFloats', addFloats],
  ['atomicAdd', atomic('atomicAdd', 'add', ['i32', 'u32', 'f32'])],
  ['atomicMax', atomic('atomicMax', 'max', ['i32', 'u32'])],
  ['atomicMin', atomic('atomicMin', 'min', ['i32', 'u32'])],
  ['atomicExchange', atomic('atomicExchange', 'exchange', ['i32', 'u32'])],
  ['atomicCompareAndSwap', atomic('atomicCompareAndSwap', 'cas', ['i32', 'u32'], 2)],
]
