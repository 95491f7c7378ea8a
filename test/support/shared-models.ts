import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The trained models and texts that tests use where they are: a folder beside the repository, or QUATTUOR_SHARED. */
const shared =
  process.env.QUATTUOR_SHARED ?? resolve(dirname(fileURLToPath(import.meta.url)), '../../../shared')
const beside = existsSync(shared)
  ? shared
  : resolve(dirname(fileURLToPath(import.meta.url)), '../../../../shared')

/** The path of a shared file or folder; without it, says why the tests that need it are skipped. */
export function sharedPath(path: string): string | undefined {
  const found = join(beside, path)
  if (existsSync(found)) return found
  console.log(`skipped: tests on ${path}, because it is not beside the repository (set QUATTUOR_SHARED)`)
  return undefined
}

export interface GoldenContinuation {
  readonly input_ids: readonly number[]
  readonly output_ids: readonly number[]
  /** Logit margin at each generated position. */
  readonly top1_minus_top2: readonly number[]
}

export interface GoldenLogits {
  readonly input_ids: readonly number[]
  readonly positions: readonly {
    readonly position: number
    readonly top_ids: readonly number[]
    readonly top_values: readonly number[]
    readonly logsumexp: number
  }[]
}

/** The fp32 part of a model's `golden.json`. */
export interface Golden {
  readonly greedy: readonly GoldenContinuation[]
  readonly chat_greedy: readonly GoldenContinuation[]
  readonly logits: readonly GoldenLogits[]
}

export const readGolden = (folder: string): Golden =>
  JSON.parse(readFileSync(join(folder, 'golden.json'), 'utf8')).fp32
