import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../../codegen/program.ts'
import type { Dims } from '../../dsl/kernel.ts'
import type { Device } from '../device.ts'
import { deviceSlug } from '../device-slug.ts'
import { packageRoot } from '../package-root.ts'
import { cacheFolder } from '../program-cache.ts'
import { RecordFile } from './record-file.ts'
import { dimsKey, nearestWinner, type TuneRecord, type Winner } from './records.ts'

/** The records that come with the package. */
export const shippedRecords = (): string => join(packageRoot(), 'kernels', 'tuned')

/**
 * Where the tuner writes unless told otherwise: beside the kernels in a checkout; in the user's cache folder where the
 * package is installed, which the next installation would replace. `null` where there is no such folder.
 */
export function recordsFolder(): string | null {
  if (!/[/\\]node_modules[/\\]/.test(packageRoot())) return shippedRecords()
  const cache = cacheFolder()
  return cache === null ? null : join(cache, 'tuned')
}

/** The file of a format's records in a folder of records. */
export const recordPath = (folder: string, slug: string, format: string): string =>
  join(folder, slug, `${format}.jsonl`)

/** The records of a format, read once a process: what is measured meanwhile is another process's. */
export class Tuned {
  readonly #own: readonly TuneRecord[]
  readonly #relatives: readonly TuneRecord[]
  readonly #winners = new Map<string, Winner | undefined>()
  readonly #values = new Map<string, readonly number[]>()

  /**
   * @param own records of this very GPU.
   * @param relatives records of other GPUs with the same instruction set, which serve where there are none.
   */
  constructor(own: readonly TuneRecord[], relatives: readonly TuneRecord[]) {
    this.#own = own
    this.#relatives = relatives
  }

  /** The best configuration on record for the shape, or for the nearest one that has one which `accept` takes. */
  winner(key: Dims, accept: (config: Config) => boolean): Winner | undefined {
    const name = dimsKey(key)
    if (!this.#winners.has(name))
      this.#winners.set(
        name,
        nearestWinner(this.#own, key, accept) ?? nearestWinner(this.#relatives, key, accept),
      )
    return this.#winners.get(name)
  }

  /** The values of a word of the records whose other words are those of `dims`, ascending. */
  tunedValues(word: string, dims: Dims): readonly number[] {
    const name = `${word} ${dimsKey(dims)}`
    let values = this.#values.get(name)
    if (!values) {
      const all = [...this.#own, ...this.#relatives]
        .filter(({ key }) => Object.entries(dims).every(([other, extent]) => key[other] === extent))
        .map(({ key }) => key[word]!)
      values = [...new Set(all)].sort((a, b) => a - b)
      this.#values.set(name, values)
    }
    return values
  }
}

const known = new Map<string, Tuned>()

/** The measured records of a format for a device: the user's own, then those that come with the package. */
export function tunedFor(device: Pick<Device, 'name' | 'properties' | 'target'>, format: string): Tuned {
  const slug = deviceSlug(device)
  const name = `${slug} ${device.target.name} ${format}`
  let tuned = known.get(name)
  if (!tuned) {
    tuned = readTuned(recordFolders(), slug, device.target.name, format)
    known.set(name, tuned)
  }
  return tuned
}

function recordFolders(): string[] {
  const cache = cacheFolder()
  return cache === null ? [shippedRecords()] : [join(cache, 'tuned'), shippedRecords()]
}

/** Reads the records of a format from folders of records; of a shape that several have, the first folder's count. */
export function readTuned(folders: readonly string[], slug: string, target: string, format: string): Tuned {
  const own: TuneRecord[] = []
  const relatives: TuneRecord[] = []
  const seen = new Set<string>()
  for (const folder of folders)
    for (const { records, gpu } of recordsIn(folder, format)) {
      const measured = records.filter((record) => record.status === 'measured' && record.target === target)
      const mine = gpu === slug
      const fresh = mine ? measured.filter(({ key }) => !seen.has(dimsKey(key))) : measured
      ;(mine ? own : relatives).push(...fresh)
      if (mine) for (const { key } of fresh) seen.add(dimsKey(key))
    }
  return new Tuned(own, relatives)
}

/** Every GPU's records of a format in a folder. */
export function recordsIn(folder: string, format: string): { gpu: string; records: TuneRecord[] }[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(recordPath(folder, entry.name, format)))
    .map(({ name }) => ({ gpu: name, records: new RecordFile(recordPath(folder, name, format)).records() }))
}
