import { join } from 'node:path'
import type { ModelConfig } from '../checkpoint/config.ts'
import { UsageError } from './failure.ts'

/** Refuses tokens that a model does not have: its folder holds the tokenizer of another one. */
export function checkKnownTokens(ids: readonly number[], { vocabSize }: ModelConfig, folder: string): void {
  const unknown = ids.find((id) => id >= vocabSize)
  if (unknown === undefined) return
  throw new UsageError(
    `${join(folder, 'tokenizer.json')} gives token ${unknown} and the model's vocabulary has ${vocabSize}; ` +
      'take the tokenizer that belongs to the model',
  )
}
