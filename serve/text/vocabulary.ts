import { maxTokenId } from './added-tokens.ts'
import { TextError } from './error.ts'
import { Merges } from './merges.ts'

/** Entries of a vocabulary by their spelling. */
export type Vocabulary = ReadonlyMap<string, number>

/** Reads `model.vocab` of a `tokenizer.json`. */
export function readVocabulary(path: string, json: unknown): Vocabulary {
  if (typeof json !== 'object' || json === null)
    throw new TextError(`${path}: model.vocab is missing; download the file again`)
  const vocabulary = new Map<string, number>()
  for (const [entry, id] of Object.entries(json)) {
    if (!Number.isInteger(id) || id < 0 || id > maxTokenId)
      throw new TextError(
        `${path}: model.vocab gives ${JSON.stringify(entry)} the id ${id}; download the file again`,
      )
    vocabulary.set(entry, id)
  }
  return vocabulary
}

export function largestId(vocabulary: Vocabulary): number {
  let largest = -1
  for (const id of vocabulary.values()) largest = Math.max(largest, id)
  return largest
}

/**
 * Reads `model.merges` of a `tokenizer.json`, which come as `"left right"` in older files and as `["left", "right"]` in
 * newer ones. `onMerged` gets the entry that each merge makes.
 */
export function readMerges(
  path: string,
  json: unknown,
  vocabulary: Vocabulary,
  onMerged: (entry: string) => void = () => {},
): Merges {
  if (!Array.isArray(json)) throw new TextError(`${path}: model.merges is missing; download the file again`)
  const merges = new Merges(new Int32Array(json.length))
  for (const [rank, merge] of json.entries()) {
    const [left, right] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
    const ids = [vocabulary.get(left), vocabulary.get(right), vocabulary.get(left + right)] as const
    if (ids[0] === undefined || ids[1] === undefined || ids[2] === undefined)
      throw new TextError(
        `${path}: merge ${rank}, ${JSON.stringify(merge)}, is not made of vocabulary entries; download the file again`,
      )
    merges.results[rank] = ids[2]
    merges.set(rank, ids[0], ids[1])
    onMerged(left + right)
  }
  return merges
}
