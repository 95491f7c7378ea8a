import type { DType } from '../../../dsl/dtype.ts'
import { dtypeBytes } from '../../../dsl/dtype.ts'
import type { Layout } from '../../../dsl/layout/index.ts'
import type { Register } from '../../ir/op.ts'
import { immediate } from '../../ir/value.ts'
import type { Span } from '../syntax.ts'
import { loadScalar, storeScalar } from './access.ts'
import { argumentNode } from './calls.ts'
import { bitcast, indexValue } from './convert.ts'
import type { Evaluator } from './evaluator.ts'
import type { HasMembers } from './members.ts'
import { unknownMember } from './members.ts'
import { layoutOffset } from './native.ts'
import { operate } from './operators.ts'
import { peerAddress, peerRank } from './peers.ts'
import type { OffsetPart, SplitOffset } from './swizzled-offset.ts'
import { linearOffset, swizzledOffset } from './swizzled-offset.ts'
import type { Neighbours } from './tile-layout.ts'
import { powerOfTwoIn } from './tile-layout.ts'
import type { CallSite, Value } from './values.ts'
import { Builtin, constantValue, type DeviceValue } from './values.ts'

/** Tensors in global memory and tiles in shared memory: what an index means in bytes. */

/** Where an access goes: a register, a static offset in bytes, and the alignment that the strides leave. */
export interface Address {
  readonly register: Register
  readonly offset: number
  /** A power of two, 16 at most; indices that are not static count as aligned. */
  readonly align: number
}

export type Index = number | DeviceValue

/** A tensor parameter, as all views of it see it. */
export interface TensorInfo {
  readonly name: string
  readonly dtype: DType
  readonly words: readonly string[]
  readonly access: 'in' | 'out' | 'inout'
  readonly tag: string
  /** The widest access so far, in bytes. */
  align: number
}

export interface Memory extends HasMembers {
  /** `cluster`: the shared memory of a peer. */
  readonly space: 'global' | 'shared' | 'cluster'
  readonly dtype: DType
  readonly name: string
  readonly neighbours: Neighbours
  /** Checks that the kernel may read or write it. */
  check(ev: Evaluator, use: 'read' | 'write', node: { readonly span: Span }): void
  address(ev: Evaluator, index: readonly Index[], node: CallSite): Address
  /** Notes an access of so many bytes. */
  accessed(bytes: number): void
}

const limitedPower = (n: number): number => Math.min(16, powerOfTwoIn(n))

/** A constant index and the rest: `tid + 3` is `tid` and 3. */
function split(index: Index): { rest: DeviceValue | undefined; plus: number } {
  if (typeof index === 'number') return { rest: undefined, plus: index }
  if (index.operand.kind === 'immediate') return { rest: undefined, plus: index.operand.value }
  return index.base ? { rest: index.base, plus: index.plus } : { rest: index, plus: 0 }
}

/** Largest static offset that a load or store takes: SASS has 24 bits, signed. */
const offsetLimit = 2 ** 23

const accessNames = { in: 'In', out: 'Out', inout: 'InOut' } as const

export class Tensor implements Memory {
  readonly space = 'global'
  readonly neighbours = { contiguous: Number.POSITIVE_INFINITY, aligned: 16 }
  readonly info: TensorInfo
  /** Extents of the dimensions that are left; static or not. */
  readonly extents: readonly Index[]
  readonly #base: Address
  readonly #dims: ReadonlyMap<string, Index>
  /** Leading indices that are taken. */
  readonly #taken: number

  constructor(
    info: TensorInfo,
    extents: readonly Index[],
    base: Address,
    dims: ReadonlyMap<string, Index>,
    taken = 0,
  ) {
    this.info = info
    this.extents = extents
    this.#base = base
    this.#dims = dims
    this.#taken = taken
  }

  get dtype(): DType {
    return this.info.dtype
  }
  get name(): string {
    return this.info.name
  }
  /** Whether it is the argument itself, and not the part of it at some indices. */
  get isWhole(): boolean {
    return this.#taken === 0
  }
  accessed(bytes: number): void {
    this.info.align = Math.max(this.info.align, bytes)
  }

  describe(): string {
    const { name, dtype, words, access, tag } = this.info
    const layout = tag === 'row' ? '' : `, '${tag}'`
    return `the tensor ${name}: ${accessNames[access]}<${dtype}, '${words.join(' ')}'${layout}>`
  }

  member(ev: Evaluator, name: string, node: { readonly span: Span }): Value {
    switch (name) {
      case 'dtype':
        return this.dtype
      case 'dim':
        return new Builtin('dim', [1, 1], (e, [word], site) => this.#dim(e, word, site))
      case 'at':
        return new Builtin('at', [0, 8], (e, index, site) =>
          loadScalar(e, this, fullIndex(e, this, index, site), site),
        )
      case 'put':
        return new Builtin('put', [1, 9], (e, [value, ...index], site) => {
          storeScalar(e, this, fullIndex(e, this, index, site, 1), value, site)
        })
      case 'row':
        return new Builtin('row', [1, 8], (e, index, site) => this.#row(e, index, site))
    }
    throw unknownMember(ev, this, name, node, ['dim', 'at', 'put', 'row', 'dtype'])
  }

  check(ev: Evaluator, use: 'read' | 'write', node: { readonly span: Span }): void {
    const { access, name } = this.info
    if (use === 'read' && access === 'out') {
      throw ev.error('E0403', `${name} is an Out tensor, and this reads it`, node, {
        help: `declare it ${name}: InOut<…>, or keep the value in a register`,
      })
    }
    if (use === 'write' && access === 'in') {
      throw ev.error('E0402', `${name} is an In tensor, and this writes it`, node, {
        help: `declare it ${name}: InOut<…>`,
      })
    }
  }

  #dim(ev: Evaluator, word: Value, site: CallSite): Index {
    const extent = this.#dims.get(String(word))
    if (extent !== undefined && this.info.words.includes(String(word))) return extent
    throw ev.error('E0404', `${this.info.name} has no dimension '${String(word)}'`, argumentNode(site, 0), {
      help: `its dimensions are ${this.info.words.join(', ')}`,
    })
  }

  #row(ev: Evaluator, index: readonly Value[], site: CallSite): Tensor {
    if (index.length >= this.extents.length) {
      throw ev.error(
        'E0405',
        `row takes fewer indices than the ${this.extents.length} dimensions left`,
        site,
        {
          help: `at(…) reads one element, ${accessForm(this.extents.length)}`,
        },
      )
    }
    const indices = index.map((v, i) => indexValue(ev, v, argumentNode(site, i)))
    const address = this.address(ev, indices, site)
    return new Tensor(
      this.info,
      this.extents.slice(index.length),
      address,
      this.#dims,
      this.#taken + index.length,
    )
  }

  /** Generates: `base + i₀·stride₀` in 64 bits for each dimension of unknown extent, and once for the inner ones. */
  address(ev: Evaluator, index: readonly Index[], site: CallSite): Address {
    const { emitter } = ev
    const bytes = dtypeBytes[this.dtype]
    let { register, offset, align } = this.#base
    let inner: DeviceValue | undefined
    for (const [k, each] of index.entries()) {
      this.#checkStatic(ev, each, k, site)
      const stride = this.#strideAfter(ev, k)
      if (typeof stride !== 'number') {
        const device = typeof each === 'number' ? constantValue('i32', each) : each
        const scaled = emitter.atEntry(`bytes ${strideKey(stride)} ${bytes}`, () =>
          operate(ev, 'mul', stride, constantValue('i32', bytes)),
        )
        if (device.operand.kind === 'immediate' && device.operand.value === 0) continue
        register = emitter.value('madWide', 'address', [device.operand, scaled.operand, register])
        continue
      }
      const { rest, plus } = split(each)
      offset += plus * stride * bytes
      if (!rest) continue
      if (stride !== 1) align = Math.min(align, limitedPower(stride * bytes))
      const extent = this.extents[k]!
      const small = typeof extent === 'number' && extent * stride * bytes < 2 ** 31
      if (small) {
        const scaled = operate(ev, 'mul', rest, constantValue('i32', stride))
        inner = inner ? operate(ev, 'add', inner, scaled) : scaled
      } else {
        const by = immediate('i32', stride * bytes)
        register = emitter.value('madWide', 'address', [rest.operand, by, register])
      }
    }
    if (inner) {
      const { rest, plus } = split(inner)
      offset += plus * bytes
      if (rest) {
        const by = immediate('i32', bytes)
        register = emitter.value('madWide', 'address', [rest.operand, by, register])
      }
    }
    if (Math.abs(offset) >= offsetLimit) {
      register = emitter.value('add', 'address', [register, immediate('address', offset)])
      align = Math.min(align, limitedPower(offset))
      offset = 0
    }
    return { register, offset, align }
  }

  #checkStatic(ev: Evaluator, index: Index, k: number, site: CallSite): void {
    const extent = this.extents[k]
    if (typeof index !== 'number' || typeof extent !== 'number') return
    if (index >= 0 && index < extent) return
    throw ev.error(
      'E0504',
      `index ${index} is outside dimension ${this.info.words[this.#taken + k]} of ${this.name}, which has ${extent}`,
      site,
      {},
    )
  }

  /** Elements from one index of dimension `k` to the next. */
  #strideAfter(ev: Evaluator, k: number): Index {
    let known = 1
    const devices: DeviceValue[] = []
    for (const extent of this.extents.slice(k + 1)) {
      if (typeof extent === 'number') known *= extent
      else devices.push(extent)
    }
    if (devices.length === 0) return known
    const key = `stride ${known} ${devices.map(strideKey).join(' ')}`
    return ev.emitter.atEntry(key, () =>
      devices.reduce((a, b) => operate(ev, 'mul', a, b), constantValue('i32', known)),
    )
  }
}

const strideKey = (value: DeviceValue): string =>
  value.operand.kind === 'register' ? `r${value.operand.id}` : String(value.operand.value)

const accessForm = (rank: number): string => `at(${['i', 'j', 'k', 'l', 'm'].slice(0, rank).join(', ')})`

/** One index for every dimension that is left. */
export function fullIndex(
  ev: Evaluator,
  memory: Memory,
  index: readonly Value[],
  site: CallSite,
  from = 0,
): Index[] {
  const rank = memory instanceof Tensor ? memory.extents.length : (memory as SharedTile).rank
  if (index.length !== rank) {
    throw ev.error(
      'E0405',
      `${memory.name} has ${rank} dimensions here, and the indices given are ${index.length}`,
      site,
      {
        notes: [{ message: memory.describe() }],
      },
    )
  }
  return index.map((value, i) => indexValue(ev, value, argumentNode(site, i + from)))
}

/** A tile in shared memory as it was declared. */
export interface TileInfo {
  /** The shared variable that holds it. */
  readonly id: number
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly layout: Layout
  readonly neighbours: Neighbours
}

/** A tile in shared memory, or the part of one at given leading indices; of this CTA, or of a peer in its cluster. */
export class SharedTile implements Memory {
  readonly info: TileInfo
  /** Leading indices that are taken. */
  readonly leading: readonly Index[]
  readonly #peer: Index | undefined

  constructor(info: TileInfo, leading: readonly Index[] = [], peer?: Index) {
    this.info = info
    this.leading = leading
    this.#peer = peer
  }

  get space(): 'shared' | 'cluster' {
    return this.#peer === undefined ? 'shared' : 'cluster'
  }
  get id(): number {
    return this.info.id
  }
  get name(): string {
    return this.info.name
  }
  get dtype(): DType {
    return this.info.dtype
  }
  get shape(): readonly number[] {
    return this.info.shape
  }
  get neighbours(): Neighbours {
    return this.info.neighbours
  }
  /** Dimensions that are left. */
  get rank(): number {
    return this.shape.length - this.leading.length
  }
  accessed(): void {}
  check(): void {}

  describe(): string {
    return `the tile ${this.name}: ${this.dtype} ${this.info.layout.id}`
  }

  member(ev: Evaluator, name: string, node: { readonly span: Span }): Value {
    switch (name) {
      case 'dtype':
        return this.dtype
      case 'shape':
        return this.shape.slice(this.leading.length)
      case 'at':
        return new Builtin('at', [0, 8], (e, index, site) =>
          loadScalar(e, this, fullIndex(e, this, index, site), site),
        )
      case 'put':
        return new Builtin('put', [1, 9], (e, [value, ...index], site) => {
          storeScalar(e, this, fullIndex(e, this, index, site, 1), value, site)
        })
      case 'row':
        return new Builtin('row', [1, 8], (e, index, site) => {
          if (index.length >= this.rank) {
            throw e.error('E0405', `row takes fewer indices than the ${this.rank} dimensions left`, site, {})
          }
          const indices = index.map((v, i) => indexValue(e, v, argumentNode(site, i)))
          return new SharedTile(this.info, [...this.leading, ...indices], this.#peer)
        })
      case 'peer':
        return new Builtin(
          'peer',
          [1, 1],
          (e, [rank], site) => new SharedTile(this.info, this.leading, peerRank(e, rank, site)),
        )
    }
    throw unknownMember(ev, this, name, node, ['at', 'put', 'row', 'peer', 'shape', 'dtype'])
  }

  /** The address of the first byte of the variable, in this CTA or in the peer. */
  #base(ev: Evaluator): Register {
    const base = ev.emitter.entryValue('sharedAddress', 'u32', { variable: this.id })
    return this.#peer === undefined ? base : peerAddress(ev, base, this.#peer)
  }

  /** The address of the first element, whatever swizzle the tile has: where a copy or a matrix operand begins. */
  start(ev: Evaluator): Address {
    return this.#at(ev, linearOffset(ev, this.#parts(this.leading)))
  }

  /** The address of the whole variable, and the distance of an element from it without the swizzle, in `unit` elements. */
  distance(ev: Evaluator, index: readonly Index[], unit: number): SplitOffset & { readonly base: Register } {
    const parts = this.#parts([...this.leading, ...index])
    const scaled = parts.map((part) => ({ ...part, stride: part.stride / unit }))
    return { ...linearOffset(ev, scaled), base: this.#base(ev) }
  }

  /** Coordinates with their strides; those of a nested mode are not one number. */
  #parts(coords: readonly Index[]): OffsetPart[] {
    const strides = this.info.layout.stride as readonly number[]
    return coords.map((index, k) => ({ ...split(index), stride: strides[k]! }))
  }

  /** So many elements past the base. */
  #at(ev: Evaluator, { rest, plus }: SplitOffset): Address {
    const bytes = dtypeBytes[this.dtype]
    const base = this.#base(ev)
    const offset = plus * bytes
    if (!rest) return { register: base, offset, align: 16 }
    const distance = bitcast(ev, rest, 'u32').operand
    const register = ev.emitter.value('mad', 'u32', [distance, immediate('u32', bytes), base])
    return { register, offset, align: 16 }
  }

  address(ev: Evaluator, index: readonly Index[], site: CallSite): Address {
    const { layout } = this.info
    const coords = [...this.leading, ...index]
    for (const [k, i] of coords.entries()) {
      const extent = this.shape[k]!
      if (typeof i === 'number' && (i < 0 || i >= extent)) {
        throw ev.error(
          'E0504',
          `index ${i} is outside dimension ${k} of ${this.name}, which has ${extent}`,
          site,
          {},
        )
      }
    }
    const strides = layout.stride as readonly unknown[]
    if (strides.every((s) => typeof s === 'number')) {
      const parts = this.#parts(coords)
      return this.#at(
        ev,
        layout.swizzle ? swizzledOffset(ev, layout.swizzle, parts) : linearOffset(ev, parts),
      )
    }
    const whole = coords.every((i) => typeof i === 'number')
      ? layout(...(coords as number[]))
      : layoutOffset(ev, layout, coords, site)
    return this.#at(ev, split(whole))
  }
}

/**
 * The parts of `n` elements from an index on that lie side by side, each with its own index. An index that is not
 * static counts as a multiple of the part.
 */
export function pieces(ev: Evaluator, memory: Memory, index: readonly Index[], n: number) {
  const { contiguous } = memory.neighbours
  if (contiguous === Number.POSITIVE_INFINITY) return [{ index, count: n }]
  const last = index.at(-1)!
  const count = Math.min(contiguous, powerOfTwoIn(n), powerOfTwoIn(split(last).plus))
  return Array.from({ length: n / count }, (_, i) => {
    const start =
      typeof last === 'number' ? last + i * count : operate(ev, 'add', last, constantValue('i32', i * count))
    return { index: [...index.slice(0, -1), start], count }
  })
}

export const isMemory = (value: Value): value is Memory =>
  value instanceof Tensor || value instanceof SharedTile
