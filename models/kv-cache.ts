import type { ModelConfig } from '../checkpoint/config.ts'
import { dtypeBytes } from '../dsl/dtype.ts'
import { type KvConfig, type KvFormatName, kvConfig, PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'

/** The keys and values of one layer: pools of pages, with their scales and minima where the format has them. */
export interface LayerCache {
  readonly k: Tensor
  readonly v: Tensor
  readonly kParams: Tensor | undefined
  readonly vParams: Tensor | undefined
}

/** The paged key/value cache of a model: every layer has the same pages. */
export class KvCache {
  readonly pages: number
  readonly constants: KvConfig
  readonly layers: readonly LayerCache[]

  constructor(
    device: Device,
    config: ModelConfig,
    format: KvFormatName,
    dtype: 'f16' | 'bf16',
    pages: number,
  ) {
    this.pages = pages
    this.constants = kvConfig(format, dtype, config.headDim)
    const { kvElement, DC } = this.constants
    const pool = () => Tensor.allocate(device, kvElement, [pages, config.kvHeads, PAGE_TOKENS, DC])
    const params = () =>
      this.constants.kParams
        ? Tensor.allocate(device, 'f16', [pages, config.kvHeads, PAGE_TOKENS, 2])
        : undefined
    this.layers = Array.from({ length: config.layers }, () => ({
      k: pool(),
      v: pool(),
      kParams: params(),
      vParams: params(),
    }))
  }

  /** Bytes of one page over all layers. */
  static pageBytes(config: ModelConfig, format: KvFormatName, dtype: 'f16' | 'bf16'): number {
    const { kvElement, DC, kParams } = kvConfig(format, dtype, config.headDim)
    const row = DC * dtypeBytes[kvElement] + (kParams ? 2 * dtypeBytes.f16 : 0)
    return 2 * config.layers * config.kvHeads * PAGE_TOKENS * row
  }

  free(): void {
    for (const { k, v, kParams, vParams } of this.layers)
      for (const tensor of [k, v, kParams, vParams]) tensor?.free()
  }
}
