import type { ModelConfig } from '../checkpoint/config.ts'
import { dtypeBytes } from '../dsl/dtype.ts'
import { type KvConfig, type KvFormatName, kvConfig, PAGE_TOKENS } from '../kernels/formats/kv.ts'
import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'

/** The keys and values of one layer: pages, with scales and minima where the format has them. */
export interface LayerCache {
  /** [pages, heads, keys or values, block]. */
  readonly kv: Tensor
  /** f16 [pages, heads, keys or values, 64, scale or minimum]. */
  readonly kvParams: Tensor | undefined
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
    const { kvElement, PB, kvParams } = this.constants
    const blocks = [pages, config.kvHeads, 2]
    this.layers = Array.from({ length: config.layers }, () => ({
      kv: Tensor.allocate(device, kvElement, [...blocks, PB]),
      kvParams: kvParams ? Tensor.allocate(device, 'f16', [...blocks, PAGE_TOKENS, 2]) : undefined,
    }))
  }

  /** Bytes of one page over all layers. */
  static pageBytes(config: ModelConfig, format: KvFormatName, dtype: 'f16' | 'bf16'): number {
    const { kvElement, PB, kvParams } = kvConfig(format, dtype, config.headDim)
    const block = PB * dtypeBytes[kvElement] + (kvParams ? 2 * PAGE_TOKENS * dtypeBytes.f16 : 0)
    return 2 * config.layers * config.kvHeads * block
  }

  free(): void {
    for (const { kv, kvParams } of this.layers) {
      kv.free()
      kvParams?.free()
    }
  }
}
