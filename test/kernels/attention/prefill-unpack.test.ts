import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f16Value } from '../../../dsl/half.ts'
import {
  advance,
  barrier,
  consumerCursor,
  type Elem,
  type f16,
  type In,
  type InOut,
  type i32,
  idiv,
  kernel,
  loadWords,
  type Out,
  range,
  release,
  specialize,
  storeWords,
  syncWarp,
  threadIdx,
  waitFull,
} from '../../../dsl/index.ts'
import { copyTiles } from '../../../kernels/attention/prefill-copies.ts'
import {
  initMemory,
  makeMemory,
  pitch,
  placeOfColumn,
  placeOfToken,
  rowOfColumn,
  tilesOf,
  unitTokens,
} from '../../../kernels/attention/prefill-memory.ts'
import {
  copierRegisters,
  type PrefillConfig,
  prefillConfig,
  prefillThreads,
  unpackerRegisters,
  unpackers,
  warpgroups,
} from '../../../kernels/attention/prefill-shape.ts'
import { lastHalfOf, loadTile, tileOf } from '../../../kernels/attention/prefill-tiles.ts'
import { unpackTiles } from '../../../kernels/attention/prefill-unpack.ts'
import { PAGE_TOKENS } from '../../../kernels/formats/kv.ts'
import { KEYS, KvPages, VALUES } from '../../../kernels/formats/kv-pages.ts'
import { checkedEmulator } from '../../support/checked-emulator.ts'
import { halfBits } from '../../support/halfs.ts'
import { rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

/** Writes the tiles that `wgmma` would read to global memory: of unit u of a tile whose first token is t those of slot t + u. */
export const readTiles = kernel(
  import.meta.url,
  {
    grid: (_, c: PrefillConfig) => [c.ctas],
    block: [prefillThreads],
    blocksPerMultiprocessor: () => 1,
  },
  function readTiles(
    a: {
      kv: In<Elem<'kvElement'>, 'Pages Hkv 2 PB'>
      kvParams?: In<f16, 'Pages Hkv 2 64 2'>
      pages: In<i32, 'B MaxPages'>
      tiles: In<i32, 'Tiles 8'>
      tileCount: In<i32, '1'>
      taken: InOut<i32, '1'>
      window: i32
      keys: Out<f16, 'Slots Hkv KeyElements'>
      values: Out<f16, 'Slots Hkv ValueElements'>
    },
    c: PrefillConfig,
  ) {
    const m = makeMemory(c, c, c)
    if (threadIdx.x === 128 * warpgroups) initMemory(m)
    barrier()
    const copy = (): void => {
      const turn = consumerCursor(0)
      const parts = [
        {
          at: consumerCursor(0),
          ring: m.keyRing,
          from: m.keyBytes,
          bytes: tilesOf(c.D) * unitTokens * pitch,
          to: a.keys,
        },
        {
          at: consumerCursor(0),
          ring: m.valueRing,
          from: m.valueBytes,
          bytes: tilesOf(unitTokens) * c.D * pitch,
          to: a.values,
        },
      ]
      for (;;) {
        waitFull(m.tileRing, turn)
        const tile = tileOf(loadTile(m.tiles, turn.stage))
        syncWarp()
        release(m.tileRing, turn.stage)
        advance(turn, m.tileRing, 1)
        if (tile.tokens === 0) break
        for (const unit of range(tile.firstUnit, tile.lastUnit + 1)) {
          for (const { at, ring, from, bytes, to } of parts) {
            waitFull(ring, at)
            for (const byte of range(16 * threadIdx.x, bytes, 16 * 128 * warpgroups)) {
              const row = byte >>> 7
              const column = 64 * idiv(row, unitTokens) + 8 * (((byte >>> 4) & 7) ^ (row & 7))
              // The second half of a unit is no keys where nobody sees it.
              const half = 2 * unit + idiv(row & (unitTokens - 1), unitTokens / 2)
              if (ring === m.valueRing || (column < c.D && half <= lastHalfOf(c, tile))) {
                const words = loadWords(from, [at.stage * bytes + byte], 4)
                storeWords(to, [tile.token + unit, tile.kvHead, byte >>> 1], words)
              }
            }
            syncWarp()
            release(ring, at.stage)
            advance(at, ring, 1)
          }
        }
      }
    }
    specialize({
      consumers: { warps: 4 * warpgroups, registers: c.registers, run: copy },
      unpackers: { warps: unpackers, registers: unpackerRegisters(c), run: () => unpackTiles(c, m) },
      copier: {
        warps: 4,
        registers: copierRegisters,
        run: () => {
          if (threadIdx.x === prefillThreads - 128) copyTiles(a, c, m)
        },
      },
    })
  },
)

/** The first of so many elements of a row that are swizzled as `wgmma` reads them. */
const swizzled = (row: number, column: number): number =>
  64 * row + 8 * ((column >> 3) ^ (row & 7)) + (column & 7)

/** Where a key's and a value's element lie in the tiles of a unit. */
const keyAt = (token: number, column: number): number =>
  swizzled(
    (column >> 6) * unitTokens + (token & ~15) + placeOfToken(token),
    (column & 48) + placeOfColumn(column & 15),
  )
const valueAt = (D: number, token: number, column: number): number =>
  swizzled(
    (token >> 6) * D + rowOfColumn(D, column),
    (token & 48) + (placeOfToken(token) ^ (token < PAGE_TOKENS ? 0 : 8)),
  )

const device = checkedEmulator()
const Hkv = 2
/** Contexts that end within a page, with one, between pages of a unit and with a unit; and the first unit of each. */
const sequences = [
  { context: 300, firstUnit: 1 },
  { context: 192, firstUnit: 0 },
  { context: 256, firstUnit: 0 },
  { context: 35, firstUnit: 0 },
  { context: 64 * 9 - 1, firstUnit: 2 },
]

for (const kv of ['kv4', 'kv8'] as const)
  for (const D of [64, 96, 128])
    test(`unpacks ${kv} of heads of ${D}`, async () => {
      const random = rng(D + (kv === 'kv8' ? 1 : 0))
      const counts = sequences.map(({ context }) => Math.ceil(context / PAGE_TOKENS))
      const total = counts.reduce((x, y) => x + y)
      const maxPages = Math.max(...counts)
      const pages = new KvPages(kv, 'f16', D, total, Hkv)
      for (let i = 0; i < pages.kv.length; i++) pages.kv[i] = random.integer(0, 255)
      pages.kvParams.fill(0x7fff)
      const table = new Int32Array(sequences.length * maxPages).fill(2 ** 30)
      const free = Array.from({ length: total }, (_, i) => i)
      const tiles: number[][] = []
      const slots: { readonly sequence: number; readonly unit: number }[] = []
      sequences.forEach(({ context, firstUnit }, sequence) => {
        for (let i = 0; i < counts[sequence]!; i++)
          table[sequence * maxPages + i] = free.splice(random.integer(0, free.length - 1), 1)[0]!
        for (let token = 0; token < context; token++)
          for (let head = 0; head < Hkv; head++)
            for (const block of [KEYS, VALUES] as const) {
              const page = table[sequence * maxPages + Math.floor(token / PAGE_TOKENS)]!
              const place = { page, head, block, token: token % PAGE_TOKENS }
              const { codes } = pages.read(place)
              // Of so few bits that no sum of them is rounded to f32.
              const params = [0.01 + random.uniform(), -8 * random.uniform()].map(halfBits.f16)
              pages.write(place, { codes, params })
            }
        const lastUnit = Math.floor((context - 1) / unitTokens)
        tiles.push([
          sequence,
          slots.length - firstUnit,
          1,
          context - 1,
          context,
          firstUnit,
          lastUnit,
          counts[sequence]! - 1,
        ])
        for (let unit = firstUnit; unit <= lastUnit; unit++) slots.push({ sequence, unit })
      })
      const sizes = { keys: tilesOf(D) * unitTokens * 64, values: 2 * D * 64 }
      const out = (elements: number) => ({
        dtype: 'f16' as const,
        shape: [slots.length, Hkv, elements],
      })
      const { keys, values } = await runKernel(
        device,
        readTiles,
        {
          ...prefillConfig({ kv, dtype: 'f16', D, Hq: Hkv, Hkv, multiprocessors: 2 }),
          rawStages: kv === 'kv4' ? 3 : 2,
        },
        {
          kv: { dtype: 'u8', shape: pages.shapes.kv, data: pages.kv },
          kvParams: { dtype: 'f16', shape: pages.shapes.kvParams, data: pages.kvParams },
          pages: { dtype: 'i32', shape: [sequences.length, maxPages], data: table },
          tiles: { dtype: 'i32', shape: [tiles.length, 8], data: Int32Array.from(tiles.flat()) },
          tileCount: { dtype: 'i32', shape: [1], data: Int32Array.of(tiles.length) },
          taken: { dtype: 'i32', shape: [1], data: Int32Array.of(0) },
          window: 2 ** 30,
          keys: out(sizes.keys),
          values: out(sizes.values),
        },
      )
      slots.forEach(({ sequence, unit }, slot) => {
        for (let head = 0; head < Hkv; head++)
          for (let token = 0; token < unitTokens; token++) {
            const position = unit * unitTokens + token
            const page = table[sequence * maxPages + Math.floor(position / PAGE_TOKENS)]!
            for (const block of [KEYS, VALUES] as const) {
              // Keys of tokens that nobody sees may be anything.
              if (block === KEYS && position >= sequences[sequence]!.context) continue
              const isLive = position < sequences[sequence]!.context
              const expected = isLive
                ? pages.get({ page, head, block, token: token % PAGE_TOKENS })
                : new Float64Array(D)
              const [src, size, at] =
                block === KEYS
                  ? [keys!, sizes.keys, (column: number) => keyAt(token, column)]
                  : [values!, sizes.values, (column: number) => valueAt(D, token, column)]
              expected.forEach((value, column) => {
                const bits = src[(slot * Hkv + head) * size + at(column)]!
                if (f16Value(bits) !== f16Value(halfBits.f16(value)))
                  assert.unreachable(
                    `${block === KEYS ? 'key' : 'value'} ${position} of sequence ${sequence}, head ${head}, column ${column} is ${f16Value(bits)}, not ${value}`,
                  )
              })
            }
          }
      })
    })

test.after(() => device.close())
test.run()
