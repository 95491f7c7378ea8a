import type { Comparison } from '../../serve/compare-models.ts'
import { bytesText } from '../progress.ts'

/** One model of a comparison. */
export interface ComparedModel extends Comparison {
  readonly model: string
  readonly format: string
  /** Of all tensors of the checkpoint. */
  readonly weightBytes: number
  /** That a token takes in the cache. */
  readonly cacheBytesPerToken: number
}

/** The columns of a comparison, as text. */
export const compareHead = [
  'model',
  'format',
  'perplexity',
  'over first',
  'KL',
  'same top',
  'tokens/s',
  'weights',
  'cache/token',
]

/** A comparison's cells, a row to a model. */
export function compareRows(models: readonly ComparedModel[]): string[][] {
  const [first] = models as readonly [ComparedModel]
  return models.map((each) => [
    each.model,
    each.format,
    each.perplexity.toFixed(4),
    `${(100 * (each.perplexity / first.perplexity - 1)).toFixed(2)} %`,
    each.divergence.toFixed(5),
    `${(100 * each.agreement).toFixed(2)} %`,
    each.tokensPerSecond.toFixed(0),
    bytesText(each.weightBytes),
    bytesText(each.cacheBytesPerToken),
  ])
}
