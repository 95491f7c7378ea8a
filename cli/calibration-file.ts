import type { ModelConfig } from '../checkpoint/config.ts'
import { type Calibration, packWindows, readDocuments } from '../quantize/calibration.ts'
import { loadTokenizer } from '../serve/text/tokenizer.ts'
import { UsageError } from './failure.ts'
import { checkKnownTokens } from './known-tokens.ts'
import { readText } from './read-text.ts'

/** Calibration windows of a text or JSONL file in a model's tokens. */
export function loadCalibration(
  folder: string,
  config: ModelConfig,
  path: string,
  options: { readonly windows: number; readonly window?: number | undefined; readonly seed: number },
): Calibration {
  const window = options.window ?? Math.min(1024, config.maxPositions)
  if (window > config.maxPositions)
    throw new UsageError(`the model's context is ${config.maxPositions} tokens; lower --window ${window}`)
  const tokenizer = loadTokenizer(folder)
  const documents = readDocuments(path, readText(path)).map((text) => tokenizer.encode(text))
  for (const ids of documents) checkKnownTokens(ids, config, folder)
  return packWindows(documents, { windows: options.windows, window, seed: options.seed })
}
