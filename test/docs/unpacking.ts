import {
  each,
  type In,
  kernel,
  loadGroups,
  loadWords,
  type OperandType,
  type Out,
  storeWords,
  threadIdx,
  type u32,
  type WeightFormat,
  type ZeroHandling,
} from '../../dsl/index.ts'
import { type WeightFormatName, weightFormats } from '../../kernels/formats/index.ts'

export interface UnpackConfig {
  readonly format: WeightFormatName
  readonly zero: ZeroHandling
  readonly x: OperandType
  readonly count: number
}

/** Makes `count` loads of a format into operands, and nothing else. */
export const unpack = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function unpack(
    a: { w: In<u32, 'Loads 512'>; group: In<u32, '8'>; out: Out<u32, 'Steps 512'> },
    c: UnpackConfig,
  ) {
    const format: WeightFormat = weightFormats[c.format]
    const group = loadWords(a.group, [0], 8).slice(0, Math.max(1, loadGroups(format) * format.groupWords))
    for (const i of each(c.count, (n) => n)) {
      const words = loadWords(a.w, [i, 4 * threadIdx.x], 4)
      const steps = format.fragments(words, group, c.zero, c.x)
      for (const [step, registers] of steps.entries()) {
        storeWords(a.out, [i * steps.length + step, 4 * threadIdx.x], registers)
      }
    }
  },
)
