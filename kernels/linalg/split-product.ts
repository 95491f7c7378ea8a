import {
  atoms,
  blockIdx,
  each,
  f32,
  gridDim,
  type In,
  type InOut,
  type i32,
  idiv,
  kernel,
  laneIdx,
  load,
  mma,
  packBf16,
  regs,
  type Shared,
  shared,
  staticAssert,
  store,
  u32,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { pipeline } from '../../dsl/std/index.ts'
import { copyOperand, PRODUCT_TILE, type ProductConfig, productGrid, STAGES, THREADS } from './operands.ts'

const atom = atoms.m16n8k16.bf16

/** Columns of a step: those of two instructions. */
const STEP = 32

/** Steps whose products tensor cores add up; they cut sums off where f32 rounds, which many in a row would let be seen. */
const STEPS_OF_A_SUM = 4

/** Tile rows whose tiles are neighbours in time, so that what is in flight shares its operands. */
const GROUP = 12

/**
 * c = alpha · op(a) · op(b) (+ c) of f32 by tensor cores: as `product`, several times as fast, and nearly as exact. Each
 * element x is h + l, two bf16 numbers that have 16 bits of it, and of the products h·h, h·l and l·h are summed: what is
 * left out is 2⁻¹⁷ of a term at most. Sums of 128 terms are made by tensor cores, and those are added in ascending order.
 *
 * A warp computes 64 × 32 of the 128 × 128 elements of a CTA. The order of the columns within a step, and that of rows whose
 * tiles do not lie along K, is such that operands come out of shared memory in wide accesses without conflicts.
 */
export const splitProduct = kernel(
  import.meta.url,
  {
    grid: (d) => productGrid(d.CR!, d.CC!),
    block: [THREADS],
    blocksPerMultiprocessor: () => 1,
  },
  function splitProduct(
    a: {
      a: In<f32, 'AR AC'>
      b: In<f32, 'BR BC'>
      c: InOut<f32, 'CR CC'>
      rowA: i32
      columnA: i32
      rowB: i32
      columnB: i32
      rowC: i32
      columnC: i32
      M: i32
      N: i32
      K: i32
      alpha: f32
    },
    c: ProductConfig,
  ) {
    staticAssert(!c.triangular, 'triangular operands are for product')
    const { row, column } = ownTile()
    const m0 = row * PRODUCT_TILE
    const n0 = column * PRODUCT_TILE
    if (c.part === 'upper' && n0 + PRODUCT_TILE <= m0) return
    const alongA = !c.transposeA
    const alongB = c.transposeB
    const runs = alongA && alongB
    const tileA = operandTile(alongA)
    const tileB = operandTile(alongB)
    const rowsA = (warpIdx >> 2) * 64
    const columnsB = (warpIdx & 3) * 32
    const sums = each(4, () => each(4, () => regs(4, f32(0))))
    const acc = each(4, () => each(4, () => regs(4, f32(0))))
    const promote = (): void => {
      for (const i of unroll(4))
        for (const q of unroll(4))
          for (const e of unroll(4)) {
            sums[i]![q]![e] = sums[i]![q]![e]! + acc[i]![q]![e]!
            acc[i]![q]![e] = f32(0)
          }
    }

    pipeline(
      { stages: STAGES, steps: idiv(a.K + (STEP - 1), STEP) },
      {
        load(step, stage) {
          const k = step * STEP
          const fromA = { row: a.rowA, column: a.columnA, first: m0, extent: a.M, k, K: a.K }
          copyOperand(tileA.row(stage), a.a, fromA, { step: STEP, along: alongA, vec: c.vec })
          const fromB = { row: a.rowB, column: a.columnB, first: n0, extent: a.N, k, K: a.K }
          copyOperand(tileB.row(stage), a.b, fromB, { step: STEP, along: alongB, vec: c.vec })
        },
        compute(step, stage) {
          for (const k of unroll(2)) {
            const placeB = { along: alongB, runs, first: columnsB, k }
            const ofB = fragments(tileB.row(stage), placeB, 0).map(split)
            for (const half of unroll(2)) {
              const placeA = { along: alongA, runs, first: rowsA, k }
              const ofA = fragments(tileA.row(stage), placeA, 4 * half).map(split)
              const [high, low] = (['high', 'low'] as const).map((which) =>
                each(2, (part) => {
                  const [top, bottom] = [ofA[2 * part]![which], ofA[2 * part + 1]![which]]
                  return [top[0]!, bottom[0]!, top[1]!, bottom[1]!]
                }),
              )
              // Eight sums in turns: none waits for its last term.
              const add = (x: readonly (readonly u32[])[], which: 'high' | 'low'): void => {
                for (const part of unroll(2))
                  ofB.forEach((y, q) => {
                    mma(atom, acc[2 * half + part]![q]!, x[part]!, y[which])
                  })
              }
              add(low!, 'high')
              add(high!, 'low')
              add(high!, 'high')
            }
          }
          if (step % STEPS_OF_A_SUM === STEPS_OF_A_SUM - 1) promote()
        },
      },
    )
    promote()

    const pair = 2 * (laneIdx & 3)
    for (const slot of unroll(8)) {
      const at = m0 + rowsA + ownRow(alongA, slot, laneIdx >>> 2)
      if (at < a.M) {
        // A lane has two columns of each of four tiles.
        const values = each(2, (e) => each(4, (q) => sums[slot >> 1]![q]![2 * (slot & 1) + e]! * a.alpha))
        if (alongB) {
          for (const q of unroll(4))
            put(a.c, a, c, at, n0 + columnsB + 8 * q + pair, [values[0]![q]!, values[1]![q]!])
        } else {
          for (const e of unroll(2)) put(a.c, a, c, at, n0 + columnsB + 4 * (pair + e), values[e]!)
        }
      }
    }
  },
)

/** The calling CTA's tile: down a group of tile rows, then along it. */
function ownTile(): { row: i32; column: i32 } {
  const index = blockIdx.y * gridDim.x + blockIdx.x
  const ofGroup = GROUP * gridDim.x
  const first = idiv(index, ofGroup) * GROUP
  const rows = Math.min(gridDim.y - first, GROUP)
  const within = index % ofGroup
  return { row: first + (within % rows), column: idiv(within, rows) }
}

/** Rows along K lie so that a warp reads them in runs of four columns, or in columns four apart; others so that four rows are read. */
const operandTile = (along: boolean) =>
  shared<f32>('f32', along ? [STAGES, PRODUCT_TILE, STEP + 4] : [STAGES, STEP, PRODUCT_TILE + 8])

/** Of the rows of a warp's part of a tile, the `slot`-th of lanes with index `lane` of eight. */
const ownRow = (along: boolean, slot: number, lane: i32): i32 =>
  along ? 8 * slot + lane : 4 * lane + (slot % 4) + 32 * Math.floor(slot / 4)

interface WarpPart {
  /** Whether the tile's rows lie along K, and those of both operands do. */
  readonly along: boolean
  readonly runs: boolean
  /** The warp's first row. */
  readonly first: i32
  /** The instruction within the step. */
  readonly k: number
}

/** The four values that the calling lane needs of each of four of its rows, from slot `from` on. */
function fragments(tile: Shared<f32>, { along, runs, first, k }: WarpPart, from: number): f32[][] {
  const lane = laneIdx >>> 2
  const part = laneIdx & 3
  if (along)
    return each(4, (i) => {
      const row = first + ownRow(true, from + i, lane)
      return runs
        ? load(tile, [row, 8 * part + 4 * k], 4)
        : each(4, (j) => tile.at(row, part + (4 * j + 16 * k)))
    })
  const columns = each(4, (j) => load(tile, [part + (4 * j + 16 * k), first + ownRow(false, from, lane)], 4))
  return each(4, (i) => columns.map((values) => values[i]!))
}

/** Four values as pairs of bf16: the nearest, and what is left. */
function split(values: readonly f32[]): { high: u32[]; low: u32[] } {
  const pairs = each(2, (i) => {
    const [x, y] = [values[2 * i]!, values[2 * i + 1]!]
    const high = u32.bits(packBf16(x, y))
    const low = u32.bits(packBf16(x - f32.bits(high << 16), y - f32.bits(high & 0xffff0000)))
    return { high, low }
  })
  return { high: pairs.map((pair) => pair.high), low: pairs.map((pair) => pair.low) }
}

/** Stores, or adds, neighbouring elements of a row, as far as there are columns. */
function put(
  dst: InOut<f32, string>,
  a: { rowC: i32; columnC: i32; N: i32 },
  c: ProductConfig,
  row: i32,
  column: i32,
  values: readonly f32[],
): void {
  if (c.vec === 4) {
    if (column < a.N) {
      const at = [a.rowC + row, a.columnC + column]
      const old = c.add ? load(dst, at, values.length) : undefined
      store(
        dst,
        at,
        values.map((value, i) => (old ? value + old[i]! : value)),
      )
    }
  } else {
    values.forEach((value, i) => {
      if (column + i < a.N) {
        const at = [a.rowC + row, a.columnC + column + i] as const
        dst.put(c.add ? value + dst.at(...at) : value, ...at)
      }
    })
  }
}
