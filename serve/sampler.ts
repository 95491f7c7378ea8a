import { sample } from '../kernels/sample.ts'
import type { Device, Stream } from '../runtime/device.ts'
import { type Launch, prepare } from '../runtime/kernel.ts'
import { Tensor } from '../runtime/tensor.ts'
import type { Sampling } from './sequence.ts'

const settingTypes = {
  temperature: 'f32',
  topK: 'i32',
  topP: 'f32',
  minP: 'f32',
  seed: 'u32',
  step: 'u32',
} as const

type Setting = keyof typeof settingTypes
const settingNames = Object.keys(settingTypes) as Setting[]

/** A row of logits to choose from: its settings, and which draw of its sequence it is. */
export interface Draw {
  readonly sampling: Sampling
  readonly step: number
}

/** Chooses tokens from rows of logits, each row by its own settings. */
export class Sampler {
  readonly #launch: Launch
  readonly #settings: Readonly<Record<Setting, Tensor>>
  readonly #ids: Tensor

  private constructor(launch: Launch, settings: Readonly<Record<Setting, Tensor>>, ids: Tensor) {
    this.#launch = launch
    this.#settings = settings
    this.#ids = ids
  }

  /** For f32 logits [rows, vocabulary]. */
  static async create(device: Device, logits: Tensor): Promise<Sampler> {
    const [rows, V] = logits.shape as [number, number]
    const settings = Object.fromEntries(
      settingNames.map((name) => [name, Tensor.allocate(device, settingTypes[name], [rows])]),
    ) as Record<Setting, Tensor>
    const ids = Tensor.allocate(device, 'i32', [rows])
    return new Sampler(await prepare(device, sample, { V }, { logits, ...settings, ids }), settings, ids)
  }

  /** The token ids that the first `draws.length` rows give. */
  async choose(draws: readonly Draw[], stream?: Stream): Promise<Int32Array> {
    const count = draws.length
    for (const name of settingNames) {
      const values = draws.map((draw) => (name === 'step' ? draw.step : draw.sampling[name]))
      const host = { f32: Float32Array, i32: Int32Array, u32: Uint32Array }[settingTypes[name]]
      this.#settings[name].slice(0, count).write(host.from(values), stream)
    }
    if (this.#launch.dims.B !== count) this.#launch.resize({ B: count })
    this.#launch.run(stream)
    return (await this.#ids.slice(0, count).read(stream)) as Int32Array
  }

  free(): void {
    for (const name of settingNames) this.#settings[name].free()
    this.#ids.free()
  }
}
