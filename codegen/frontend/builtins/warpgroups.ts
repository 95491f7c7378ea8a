import type { WgmmaAtom } from '../../../dsl/atoms/index.ts'
import type { DType } from '../../../dsl/dtype.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Operand, Register } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import { vectorBytes } from '../evaluate/access.ts'
import { argumentNode } from '../evaluate/calls.ts'
import { elementCell, readDirect } from '../evaluate/cells.ts'
import { bitcast, coerce, indexValue } from '../evaluate/convert.ts'
import type { Evaluator } from '../evaluate/evaluator.ts'
import { conditionOf } from '../evaluate/evaluator.ts'
import { SharedTile } from '../evaluate/memory.ts'
import { shiftBy } from '../evaluate/operators.ts'
import { swizzleOf } from '../evaluate/tile-layout.ts'
import type { CallSite, Value } from '../evaluate/values.ts'
import { Builtin, Computed, constantValue, DeviceValue, describe, isPlainObject } from '../evaluate/values.ts'
import type { Expression } from '../syntax.ts'
import { special, staticNumber } from './control.ts'
import { checkEnd, indexArgument, memoryArgument, valuesArgument } from './memory.ts'
import { accumulator, isAtom, isWgmma } from './mma.ts'
import { effect } from './warp.ts'

/** What a kernel may call for warpgroups: `wgmma` and its operands, roles, barriers of some warps. */

/** A matrix in shared memory as `wgmma` reads it: a descriptor whose lower word gets `offset` added. */
class MatrixOperand {
  readonly dtype: DType
  /** Rows from its first element to the end of the tile. */
  readonly rows: number
  readonly name: string
  readonly lower: Operand
  /** In units of 16 bytes, as the descriptor counts. */
  readonly offset: number
  readonly upper: number

  constructor(tile: SharedTile, rows: number, lower: Operand, offset: number, upper: number) {
    this.dtype = tile.dtype
    this.name = tile.name
    this.rows = rows
    this.lower = lower
    this.offset = offset
    this.upper = upper
  }

  describe(): string {
    return `a matrix operand in the tile ${this.name} of ${this.dtype}`
  }

  descriptor(ev: Evaluator): Register {
    const { offset, upper } = this
    return ev.emitter.value('matrixDescriptor', 'u64', [this.lower], { offset, upper })
  }
}

/** Codes of the swizzles in the two highest bits of a descriptor. PTX manual, "Matrix Descriptor Format". */
const swizzleCodes: Readonly<Record<number, number>> = { 128: 1, 64: 2, 32: 3 }

/** Bytes that a descriptor counts in. */
const unitBytes = 16

/** Bytes of a row that one `wgmma` reads. */
const stepBytes = 32

function matrixOperand(ev: Evaluator, [tile, index]: readonly Value[], site: CallSite): MatrixOperand {
  const fails = (what: string, help: string, i = 0) =>
    ev.error('E0704', what, argumentNode(site, i), {
      notes: tile instanceof SharedTile ? [{ message: tile.describe() }] : [],
      help,
    })
  if (!(tile instanceof SharedTile))
    throw fails(
      `a matrix operand is in a shared tile, not ${describe(tile)}`,
      'matrixOperand(tile, [row, k])',
    )
  if (tile.space !== 'shared')
    throw fails(`wgmma reads the shared memory of its own CTA`, 'copy the tile of the peer first')
  const { layout, shape, dtype } = tile.info
  const swizzle = swizzleOf(layout, shape, dtype)
  const declared = `shared('${dtype}', swizzledTile([rows, ${128 / dtypeBytes[dtype]}], '${dtype}'))`
  if (swizzle === undefined)
    throw fails('wgmma reads tiles of 32, 64 or 128 bytes a row in the layout of swizzledTile', declared)
  if (tile.rank !== 2)
    throw fails(
      `a matrix operand is in a tile of 2 dimensions, and ${tile.name} has ${tile.rank} here`,
      'tile.row(stage) takes a leading index',
    )
  if (!Array.isArray(index) || index.length !== 2)
    throw fails('a matrix operand begins at [row, column]', 'matrixOperand(tile, [0, k])', 1)
  const size = dtypeBytes[dtype]
  const [row, column] = index.map((i) => indexValue(ev, i, argumentNode(site, 1))) as [
    DeviceValue | number,
    DeviceValue | number,
  ]
  const rows = shape.at(-2)!
  if (
    typeof column !== 'number' ||
    (column * size) % stepBytes !== 0 ||
    column < 0 ||
    column * size >= swizzle
  )
    throw fails(
      `the column of a matrix operand is a static multiple of 32 bytes inside the row, and this is ${
        typeof column === 'number' ? `${column * size} bytes of ${swizzle}` : describe(column)
      }`,
      `of ${dtype}, a multiple of ${stepBytes / size} below ${swizzle / size}; unroll the loop over k`,
      1,
    )
  if (typeof row === 'number' && (row % 8 !== 0 || row < 0 || row >= rows))
    throw fails(
      `the row of a matrix operand is a multiple of 8 below the tile's ${rows}, not ${row}`,
      'swizzles repeat every 8 rows',
      1,
    )
  ev.emitter.alignShared(tile.id, 8 * swizzle)
  // Tiles start at multiples of what their swizzle repeats after, so that addresses in units may be added up.
  const { base, rest, plus } = tile.distance(ev, [row], unitBytes / size)
  const place = ev.emitter.value('and', 'u32', [base, immediate('u32', 0x3ffff)])
  const units = ev.emitter.value('shr', 'u32', [place, immediate('u32', 4)], { arithmetic: false })
  // The leading byte offset, which swizzled tiles do not use, is 1.
  const first = ev.emitter.value('or', 'u32', [units, immediate('u32', 1 << 16)])
  const lower = rest ? ev.emitter.value('add', 'u32', [first, bitcast(ev, rest, 'u32').operand]) : first
  const offset = plus + (column * size) / unitBytes
  const stride = (8 * swizzle) >> 4
  const upper = stride + swizzleCodes[swizzle]! * 2 ** 30
  return new MatrixOperand(tile, typeof row === 'number' ? rows - row : rows, lower, offset, upper)
}

/** A descriptor for `rows` rows of an operand. */
function shared(
  ev: Evaluator,
  operand: MatrixOperand,
  name: 'A' | 'B',
  atom: WgmmaAtom,
  site: CallSite,
): Register {
  const [dtype, rows] = name === 'A' ? [atom.a.dtype, atom.m] : [atom.b, atom.n]
  const node = argumentNode(site, name === 'A' ? 2 : 3)
  if (operand.dtype !== dtype)
    throw ev.error(
      'E0704',
      `${atom.name} takes ${name} of ${dtype}, and ${operand.name} holds ${operand.dtype}`,
      node,
      {
        help: `shared('${dtype}', …)`,
      },
    )
  if (operand.rows < rows)
    throw ev.error(
      'E0704',
      `${atom.name} takes ${rows} rows of ${name}, and ${operand.name} has ${operand.rows} here`,
      node,
      {
        help: 'take an atom of fewer columns, or a taller tile',
      },
    )
  return operand.descriptor(ev)
}

/** A's own registers: no copies, which `wgmma` would have to wait for. */
function fragment(ev: Evaluator, value: Value, atom: WgmmaAtom, site: CallSite): Operand[] {
  const node = argumentNode(site, 2)
  if (!Array.isArray(value) || value.length !== atom.a.registers)
    throw ev.error(
      'E0702',
      `${atom.name} takes A in ${atom.a.registers} registers or in shared memory, and this is ${describe(value)}`,
      node,
      {
        help: "a lane's fragment of A is 4 u32 words; matrixOperand(tile, [row, k]) is one in shared memory",
      },
    )
  return value.map((element: Value, i) => {
    const cell = elementCell(value, i)
    return coerce(ev, cell ? readDirect(ev, cell) : element, 'u32', node).operand
  })
}

const wgmma = new Builtin('wgmma', [5, 5], (ev, [atom, acc, a, b, accumulate], site) => {
  if (!isAtom(atom) || !isWgmma(atom))
    throw ev.error('E0703', `wgmma takes a wgmma atom first, not ${describe(atom)}`, argumentNode(site, 0), {
      help: "wgmmaAtom(256, 'u8s8')",
    })
  const [x, y, z] = ev.block
  if (x * y * z < 128)
    throw ev.error('E0704', `wgmma is done by 128 threads, and the CTA has ${x * y * z}`, site, {
      help: 'block: [128]',
    })
  if (!(b instanceof MatrixOperand))
    throw ev.error('E0704', `wgmma takes B as a matrix operand, not ${describe(b)}`, argumentNode(site, 3), {
      help: 'matrixOperand(tile, [row, k])',
    })
  const right = shared(ev, b, 'B', atom, site)
  const left = a instanceof MatrixOperand ? [shared(ev, a, 'A', atom, site)] : fragment(ev, a, atom, site)
  const condition = conditionOf(ev, accumulate, argumentNode(site, 4) as Expression)
  const adds = condition instanceof DeviceValue ? condition.operand : immediate('bool', condition ? 1 : 0)
  const registers = accumulator(ev, acc, atom, atom.c.registers, site)
  ev.emitter.writes++
  ev.emitter.emit('wgmma', registers, [adds, right, ...left, ...(condition === false ? [] : registers)], {
    atom: atom.name,
    a: a instanceof MatrixOperand ? 'shared' : 'registers',
  })
})

const stmatrix = new Builtin('stmatrix', [3, 4], (ev, [tile, index, words, options], site) => {
  const memory = memoryArgument(ev, tile, 'the destination of stmatrix', site, 0)
  if (memory.space !== 'shared')
    throw ev.error('E0502', 'stmatrix writes a shared tile', argumentNode(site, 0), {})
  const stored = valuesArgument(ev, words, 'u32', site, 2)
  if (![1, 2, 4].includes(stored.length))
    throw ev.error(
      'E0502',
      `stmatrix stores 1, 2 or 4 words, not ${stored.length}`,
      argumentNode(site, 2),
      {},
    )
  const at = indexArgument(ev, memory, index, site, 1)
  checkEnd(ev, memory, at, 16 / dtypeBytes[memory.dtype], site)
  const address = memory.address(ev, at, site)
  if (vectorBytes(memory, address, 16) < 16)
    throw ev.error('E0407', `16 bytes of ${memory.name} are not aligned or not side by side here`, site, {
      notes: [{ message: memory.describe() }],
      help: 'rows must be multiples of 16 bytes, and a swizzle must keep 16 bytes together',
    })
  const transposed = isPlainObject(options) && options.transposed === true
  const operands = stored.map(({ operand }) => operand)
  ev.emitter.emit('stmatrix', [], [address.register, ...operands], { transposed, offset: address.offset })
})

/** `setmaxnreg`: 24 to 256 registers, a multiple of 8. */
const registers = (name: 'increaseRegisters' | 'decreaseRegisters'): Builtin =>
  new Builtin(name, [1, 1], (ev, [n], site) => {
    const count = staticNumber(ev, n, 'the number of registers', site)
    if (count % 8 !== 0 || count < 24 || count > 256)
      throw ev.error(
        'E0502',
        `${name} takes a multiple of 8 from 24 to 256, not ${count}`,
        argumentNode(site, 0),
        {
          help: `${name}(${Math.min(256, Math.max(24, Math.floor(count / 8) * 8))})`,
        },
      )
    ev.emitter.emit(name, [], [], { count })
  })

const named = (name: 'namedBarrier' | 'namedArrive'): Builtin =>
  new Builtin(name, [2, 2], (ev, [id, n], site) => {
    const threads = staticNumber(ev, n, 'the number of threads', site, 1)
    const [x, y, z] = ev.block
    if (threads % 32 !== 0 || threads <= 0 || threads > x * y * z)
      throw ev.error(
        'E0502',
        `${name} counts whole warps of the CTA's ${x * y * z} threads, and this is ${threads}`,
        argumentNode(site, 1),
        { help: `${name}(1, 128)` },
      )
    const barrier = indexValue(ev, id, argumentNode(site, 0), 'the number of a barrier')
    if (typeof barrier === 'number' && (barrier < 1 || barrier > 15))
      throw ev.error(
        'E0502',
        `barriers are numbered 1 to 15, and this is ${barrier}`,
        argumentNode(site, 0),
        {
          help: 'barrier() is number 0',
        },
      )
    const operand = typeof barrier === 'number' ? constantValue('i32', barrier).operand : barrier.operand
    ev.emitter.emit(name, [], [operand], { threads })
  })

function fp8Type(ev: Evaluator, name: string, type: Value, site: CallSite): 'e4m3' | 'e5m2' {
  if (type === 'e4m3' || type === 'e5m2') return type
  throw ev.error(
    'E0502',
    `${name} takes 'e4m3' or 'e5m2' first, not ${describe(type)}`,
    argumentNode(site, 0),
    {},
  )
}

export const warpgroups: readonly (readonly [string, Value])[] = [
  [
    'warpgroupIdx',
    new Computed((ev) =>
      ev.emitter.atEntry('warpgroup', () =>
        shiftBy(ev, special(ev, 'tid.x', { min: 0, max: ev.block[0] - 1 }), 'right', 7, true),
      ),
    ),
  ],
  ['matrixOperand', new Builtin('matrixOperand', [2, 2], matrixOperand)],
  ['wgmma', wgmma],
  ['wgmmaFence', effect('wgmmaFence')],
  ['wgmmaCommit', effect('wgmmaCommit')],
  [
    'wgmmaWait',
    new Builtin('wgmmaWait', [1, 1], (ev, [n], site) => {
      const pending = staticNumber(ev, n, 'the number of pending groups', site)
      if (!Number.isInteger(pending) || pending < 0 || pending > 7)
        throw ev.error('E0502', `0 to 7 groups may be pending, not ${pending}`, argumentNode(site, 0), {})
      ev.emitter.emit('wgmmaWait', [], [], { pending })
    }),
  ],
  ['stmatrix', stmatrix],
  ['increaseRegisters', registers('increaseRegisters')],
  ['decreaseRegisters', registers('decreaseRegisters')],
  ['namedBarrier', named('namedBarrier')],
  ['namedArrive', named('namedArrive')],
  [
    'packFp8',
    new Builtin('packFp8', [3, 3], (ev, [type, low, high], site) => {
      const dtype = fp8Type(ev, 'packFp8', type, site)
      const pair = [low, high].map((v, i) => coerce(ev, v, 'f32', argumentNode(site, 1 + i)).operand)
      return new DeviceValue('u32', ev.emitter.value('packFp8', 'u32', pair, { type: dtype }))
    }),
  ],
  [
    'unpackFp8',
    new Builtin('unpackFp8', [2, 2], (ev, [type, word], site) => {
      const dtype = fp8Type(ev, 'unpackFp8', type, site)
      const { operand } = coerce(ev, word, 'u32', argumentNode(site, 1))
      return new DeviceValue('f16x2', ev.emitter.value('unpackFp8', 'f16x2', [operand], { type: dtype }))
    }),
  ],
]
