import type { Kernel } from '../../dsl/kernel.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'
import {
  type GemmOperand,
  gemmConstants,
  gemmKernel,
  gemmOperands,
  type TileConstants,
} from '../../kernels/gemm-operands.ts'
import { gemmWork } from '../../models/tune/gemm-work.ts'
import type { Device, Stream } from '../../runtime/device.ts'
import { type Launch, prepare } from '../../runtime/kernel.ts'
import type { HostArray, Tensor } from '../../runtime/tensor.ts'
import type { Work } from '../../runtime/tune/roofline.ts'
import type { Runnable } from '../measure.ts'
import { bytesOf, repeatedTensor } from '../random-tensors.ts'
import { type HostOperands, hostOperands, rowSums } from './host-operands.ts'
import type { Shape } from './layers.ts'
import type { BenchFormat } from './weights.ts'

/** Weights in rotation: several times what the last cache of any GPU so far holds. */
const rotationBytes = 400e6
const mostCopies = 64

/** All constants of the kernel of a format for some tiles. */
export const problemConstants = (
  { weights, dtype }: BenchFormat,
  { n: N, k: K }: Shape,
  tiles: TileConstants,
) => gemmConstants(weights, { N, K }, tiles, { dtype })

export const problemKernel = ({ weights }: BenchFormat): Kernel => gemmKernel(weights)

/** A product that is ready to run. */
export interface Prepared {
  readonly launch: Launch
  readonly turns: readonly Runnable[]
}

/** A format at one shape: its operands on a device, for up to some number of tokens. */
export class Problem {
  readonly device: Device
  readonly format: BenchFormat
  readonly shape: Shape
  /** What the operands were made of. */
  readonly host: HostOperands
  readonly #tensors: Readonly<Record<string, Tensor>>
  readonly #weights: readonly Tensor[]

  constructor(device: Device, format: BenchFormat, shape: Shape, mostTokens: number) {
    this.device = device
    this.format = format
    this.shape = shape
    this.host = hostOperands(format, shape.k)
    const operands = this.#operands(mostTokens)
    const make = (name: string, { dtype, shape: extents, tag }: GemmOperand) =>
      repeatedTensor(device, dtype, extents, this.#data(name, mostTokens), tag)
    this.#tensors = Object.fromEntries(
      Object.entries(operands).flatMap(([name, operand]) =>
        name === 'w' ? [] : [[name, make(name, operand)]],
      ),
    )
    const { w } = operands
    const copies = Math.min(mostCopies, Math.max(1, Math.ceil(rotationBytes / bytesOf(w!.dtype, w!.shape))))
    this.#weights = Array.from({ length: copies }, () => make('w', w!))
  }

  get out(): Tensor {
    return this.#tensors.out!
  }

  /** What a product of so many tokens moves and computes at least. */
  work(tokens: number): Work {
    return gemmWork(this.format.weights, { M: tokens, N: this.shape.n, K: this.shape.k })
  }

  /** A launch for some tokens, and what runs it on each copy of the weights in turn. */
  async prepare(tokens: number, tiles: TileConstants, overlap: boolean): Promise<Prepared> {
    const constants = problemConstants(this.format, this.shape, tiles)
    const operands = this.#operands(tokens)
    const args = Object.fromEntries(
      Object.entries(this.#tensors).map(([name, tensor]) => {
        const { shape } = operands[name]!
        return [name, shape[0] === tensor.shape[0] ? tensor : tensor.slice(0, shape[0]!)]
      }),
    )
    const [w] = this.#weights
    const kernel = problemKernel(this.format)
    const launch = await prepare(this.device, kernel, constants, { ...args, w } as never, { overlap })
    const turns = this.#weights.map((copy) => ({
      run(stream?: Stream) {
        launch.set({ w: copy } as never)
        launch.run(stream)
      },
    }))
    return { launch, turns }
  }

  free(): void {
    for (const tensor of [...Object.values(this.#tensors), ...this.#weights]) tensor.free()
  }

  #operands(tokens: number): Readonly<Record<string, GemmOperand>> {
    const { weights, dtype } = this.format
    return gemmOperands(weights, { M: tokens, N: this.shape.n, K: this.shape.k }, { dtype })
  }

  /** What an argument repeats. */
  #data(name: string, mostTokens: number): HostArray {
    if (name === 'xSum') return rowSums(this.host.x as Int8Array, mostTokens, this.shape.k)
    const data: HostArray | undefined = (this.host as unknown as Record<string, HostArray>)[name]
    if (!data) throw new Error(`the bench has nothing to give for '${name}' of ${this.format.name}`)
    return data
  }
}

/** Columns that share parameters; 0 where a row has one scale alone. */
export const groupOf = (format: WeightFormatName): number => weightFormats[format].group
