import { checkContext, type ModelConfig } from '../../checkpoint/config.ts'
import type { Checkpoint } from '../../checkpoint/open.ts'
import { PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { Model } from '../../models/model.ts'
import type { Device } from '../../runtime/device.ts'
import type { Tokenizer } from '../../serve/text/tokenizer.ts'
import { UsageError } from '../failure.ts'
import { checkKnownTokens } from '../known-tokens.ts'
import { readText } from '../read-text.ts'

/** Tokens of a window: as asked for, or 1024, or all that the model can see. */
export function windowOf(config: ModelConfig, asked: number | undefined): number {
  const window = asked ?? Math.min(1024, config.maxPositions)
  if (window > config.maxPositions)
    throw new UsageError(`the model's context is ${config.maxPositions} tokens; lower --window ${window}`)
  checkContext(config, window)
  return window
}

/** The tokens of a text file. Throws `UsageError` where there is nothing to predict. */
export function readTokens(
  tokenizer: Tokenizer,
  config: ModelConfig,
  folder: string,
  options: { readonly text: string; readonly limit?: number },
): number[] {
  const ids = tokenizer.encode(readText(options.text)).slice(0, options.limit)
  checkKnownTokens(ids, config, folder)
  if (ids.length < 2) throw new UsageError(`${options.text} has fewer than two tokens; give a longer text`)
  return ids
}

/** Loads a model for texts in windows, with logits in f32. */
export function loadToScore(device: Device, checkpoint: Checkpoint, window: number): Promise<Model> {
  const pages = Math.ceil(window / PAGE_TOKENS)
  const rows = Math.min(window, 512)
  return Model.load(device, checkpoint, {
    logits: 'f32',
    limits: { tokens: rows, sequences: 1, pagesPerSequence: pages, logitRows: rows },
    pages,
  })
}
