import type { Kernel } from '../../dsl/kernel.ts'
import { weightFormats } from '../../kernels/formats/index.ts'
import type { GemmShape } from '../../kernels/gemm/mma-tiles.ts'
import { gemmConstants, gemmKernel, type TileConstants } from '../../kernels/gemm/operands.ts'
import { checkSample, type Sample, sampleProduct } from '../../models/tune/gemm-check.ts'
import { DeviceOperands } from '../../models/tune/gemm-operands.ts'
import { GemmPool } from '../../models/tune/gemm-pool.ts'
import { gemmWork } from '../../models/tune/gemm-work.ts'
import type { Device, Stream } from '../../runtime/device.ts'
import { type Launch, prepare } from '../../runtime/kernel.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import { WrongResult } from '../../runtime/tune/bench.ts'
import type { Work } from '../../runtime/tune/roofline.ts'
import type { Runnable } from '../measure.ts'
import type { BenchFormat } from './formats.ts'
import type { Shape } from './layers.ts'
import type { Cell } from './rows.ts'

/** Weights in rotation: several times what the last cache of any GPU so far holds. */
const rotationBytes = 400e6
/** Positions of a product that are compared with the reference. */
const positions = 256
/** What no kernel writes: a float of 16 bits that is no number. */
const unwritten = 0xffff

/** All constants of the kernel of a format for some tiles. */
export const problemConstants = (
  { weights, dtype }: BenchFormat,
  { n: N, k: K }: Shape,
  tiles: TileConstants,
) => gemmConstants(weights, { N, K }, tiles, { dtype })

export const problemKernel = ({ weights }: BenchFormat): Kernel => gemmKernel(weights)

/** Columns that share parameters; 0 where a row has one scale alone. */
export const groupOf = ({ weights }: BenchFormat): number => weightFormats[weights].group

const shapeOf = ({ tokens: M, n: N, k: K }: Cell): GemmShape => ({ M, N, K })

/** A product that is ready to run. */
export interface Prepared {
  readonly launch: Launch
  /** Runs it on each copy of the weights in turn. */
  readonly turns: readonly Runnable[]
}

/** The operands of a format on a device, for some cells. */
export class Problem {
  readonly device: Device
  readonly format: BenchFormat
  readonly #pool: GemmPool
  readonly #operands: DeviceOperands
  #sample: { readonly cell: Cell; readonly sample: Sample } | undefined

  constructor(device: Device, format: BenchFormat, cells: readonly Cell[]) {
    this.device = device
    this.format = format
    this.#pool = new GemmPool(format.weights, format.dtype)
    const limits = { shapes: cells.map(shapeOf), rotationBytes }
    this.#operands = new DeviceOperands(device, format.weights, this.#pool, limits)
  }

  /** What a product moves and computes at least. */
  work(cell: Cell): Work {
    return gemmWork(this.format.weights, shapeOf(cell))
  }

  async prepare(cell: Cell, tiles: TileConstants, overlap: boolean): Promise<Prepared> {
    const shape = shapeOf(cell)
    const constants = problemConstants(this.format, cell, tiles)
    const args = this.#operands.arguments(shape, tiles)
    const launch = await prepare(this.device, problemKernel(this.format), constants, args as never, {
      overlap,
    })
    const turns = Array.from({ length: this.#operands.copies(shape) }, (_, copy) => {
      const w = this.#operands.weights(shape, copy)
      return {
        run(stream?: Stream) {
          launch.set({ w } as never)
          launch.run(stream)
        },
      }
    })
    return { launch, turns }
  }

  out(cell: Cell): Tensor {
    return this.#operands.arguments(shapeOf(cell)).out!
  }

  /**
   * Runs a product on copy 0 of the weights, into output that was filled with what is no number, and compares some of it
   * with the reference. Throws `WrongResult`.
   */
  async check(cell: Cell, { turns }: Prepared): Promise<void> {
    this.out(cell).fill(0xff)
    turns[0]!.run()
    await this.compare(cell)
  }

  /** Compares what the output holds. */
  async compare(cell: Cell): Promise<void> {
    const sample = this.#sampleOf(cell)
    const out = this.out(cell)
    const rows = new Uint16Array(sample.rows.length * cell.n)
    for (const [i, m] of sample.rows.entries()) {
      const row = (await out.slice(m, m + 1).read()) as Uint16Array
      const hole = row.indexOf(unwritten)
      if (hole >= 0) throw new WrongResult(`out[${m}, ${hole}] was not written`)
      rows.set(row, i * cell.n)
    }
    checkSample(sample, rows, cell.n)
  }

  free(): void {
    this.#operands.free()
  }

  #sampleOf(cell: Cell): Sample {
    if (this.#sample?.cell !== cell) {
      const sums = this.format.weights === 'w4a8' ? this.#operands.sums(cell.k) : undefined
      const sample = sampleProduct(this.#pool, this.format.weights, shapeOf(cell), sums, positions)
      this.#sample = { cell, sample }
    }
    return this.#sample.sample
  }
}
