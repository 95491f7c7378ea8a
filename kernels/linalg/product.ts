import {
  blockIdx,
  each,
  f32,
  fma,
  type In,
  type InOut,
  i32,
  idiv,
  kernel,
  laneIdx,
  load,
  regs,
  type Shared,
  shared,
  staticAssert,
  store,
  unroll,
  warpIdx,
} from '../../dsl/index.ts'
import { pipeline } from '../../dsl/std/index.ts'
import { copyOperand, PRODUCT_TILE, type ProductConfig, productGrid, STAGES, THREADS } from './operands.ts'

/** Columns of a step. */
const STEP = 16
/** Floats from row to row of a tile whose rows lie along K: eight of them meet the banks once. */
const PITCH = STEP + 4

/**
 * c = alpha · op(a) · op(b) (+ c) of f32, on submatrices: M, N and K are the extents of the product and the corners say
 * where its operands begin. Sums run over K in ascending order, each step one fused multiply-add.
 *
 * A warp computes 32 × 64 of the 128 × 128 elements of a CTA, a lane 8 × 8 of them. Tiles of operands stay in shared memory
 * as they lie in global memory, so that copies need no registers: of those whose rows lie along K a lane reads four
 * neighbours of a row at a time, of the others four neighbouring rows.
 */
export const product = kernel(
  import.meta.url,
  {
    grid: (d) => productGrid(d.CR!, d.CC!),
    block: [THREADS],
    blocksPerMultiprocessor: () => 2,
  },
  function product(
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
    staticAssert(c.part === 'all' || c.part === 'upper', 'part is all or upper')
    const m0 = blockIdx.y * PRODUCT_TILE
    const n0 = blockIdx.x * PRODUCT_TILE
    if (c.part === 'upper' && n0 + PRODUCT_TILE <= m0) return
    const alongA = !c.transposeA
    const alongB = c.transposeB
    const tileA = operandTile(alongA)
    const tileB = operandTile(alongB)
    const first = c.triangular ? m0 : i32(0)
    const acc = each(8, () => regs(8, f32(0)))
    const warpRow = (warpIdx >> 1) * 32
    const warpColumn = (warpIdx & 1) * 64
    const lanesOfA = { along: alongA, lane: laneIdx >>> 3, lanes: 4, first: warpRow }
    const lanesOfB = { along: alongB, lane: laneIdx & 7, lanes: 8, first: warpColumn }

    pipeline(
      { stages: STAGES, steps: idiv(Math.max(a.K - first, 0) + (STEP - 1), STEP) },
      {
        load(step, stage) {
          const k = first + step * STEP
          const fromA = { row: a.rowA, column: a.columnA, first: m0, extent: a.M, k, K: a.K }
          copyOperand(tileA.row(stage), a.a, fromA, { step: STEP, along: alongA, vec: c.vec })
          const fromB = { row: a.rowB, column: a.columnB, first: n0, extent: a.N, k, K: a.K }
          copyOperand(tileB.row(stage), a.b, fromB, { step: STEP, along: alongB, vec: c.vec })
        },
        compute(_step, stage) {
          for (const k of unroll(0, STEP, 4)) {
            const ofA = fragment(tileA.row(stage), lanesOfA, k)
            const ofB = fragment(tileB.row(stage), lanesOfB, k)
            for (const j of unroll(4)) {
              const x = ofA(j)
              const y = ofB(j)
              for (const m of unroll(8))
                for (const n of unroll(8)) acc[m]![n] = fma(x[m]!, y[n]!, acc[m]![n]!)
            }
          }
        },
      },
    )

    for (const m of unroll(8)) {
      const row = m0 + ownRow(lanesOfA, m)
      if (row < a.M) {
        for (const n of unroll(0, 8, 4)) {
          const values = acc[m]!.slice(n, n + 4).map((value) => value * a.alpha)
          const column = n0 + ownRow(lanesOfB, n)
          if (c.vec === 4 && !alongB) {
            if (column < a.N) {
              const at = [a.rowC + row, a.columnC + column]
              const old = c.add ? load(a.c, at, 4) : undefined
              store(
                a.c,
                at,
                values.map((value, i) => (old ? value + old[i]! : value)),
              )
            }
          } else {
            values.forEach((value, i) => {
              const at = n0 + ownRow(lanesOfB, n + i)
              if (at < a.N) {
                const sum = c.add ? value + a.c.at(a.rowC + row, a.columnC + at) : value
                a.c.put(sum, a.rowC + row, a.columnC + at)
              }
            })
          }
        }
      }
    }
  },
)

const operandTile = (along: boolean) =>
  shared<f32>('f32', along ? [STAGES, PRODUCT_TILE, PITCH] : [STAGES, STEP, PRODUCT_TILE])

/** Which rows of an operand's tile a lane has eight of. */
interface LaneRows {
  /** Whether the tile's rows lie along K. */
  readonly along: boolean
  /** The lane among those that share the warp's rows, and how many there are. */
  readonly lane: i32
  readonly lanes: number
  /** The warp's first row. */
  readonly first: i32
}

/** The calling lane's row `i` of eight. */
const ownRow = ({ along, lane, lanes, first }: LaneRows, i: number): i32 =>
  along ? first + lane + lanes * i : first + 4 * lane + (i % 4) + 4 * lanes * Math.floor(i / 4)

/** Of four columns from `k` on, the values of the calling lane's rows. */
function fragment(tile: Shared<f32>, rows: LaneRows, k: number): (j: number) => f32[] {
  if (rows.along) {
    const values = each(8, (i) => load(tile, [ownRow(rows, i), k], 4))
    return (j) => values.map((row) => row[j]!)
  }
  return (j) => [...load(tile, [k + j, ownRow(rows, 0)], 4), ...load(tile, [k + j, ownRow(rows, 4)], 4)]
}
