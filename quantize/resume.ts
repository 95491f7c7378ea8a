import { createHash } from 'node:crypto'
import {
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import { SafetensorsWriter, type TensorPlan } from '../checkpoint/safetensors-writer.ts'
import type { HostTensor } from '../checkpoint/tensor.ts'
import type { DType } from '../dsl/dtype.ts'
import { makeFolder } from '../runtime/make-folder.ts'
import { QuantizeError } from './error.ts'
import { lockFile, lockFolder, unlockFolder } from './folder-lock.ts'

const descriptionFile = 'run.json'

/**
 * What a run has done so far, in a folder beside its result: a file of tensors for each finished part (`embedding`, a layer,
 * `head`), with notes for the report, and now and then the hidden states in front of a layer. A file has its name when
 * it is complete. A run that is started again goes on from there, if it is the same run.
 */
export class RunState {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  /**
   * Takes the folder until `close` or `discard`. `description` tells runs apart. Throws `QuantizeError` where the folder
   * holds another run, or a process that runs has it.
   */
  static open(folder: string, description: string): RunState {
    const path = join(folder, descriptionFile)
    makeFolder(folder)
    lockFolder(folder)
    try {
      removePartials(folder)
      RunState.#describe(folder, path, description)
      return new RunState(folder)
    } catch (error) {
      unlockFolder(folder)
      throw error
    }
  }

  /** Says whose folder it is, unless that is said already. */
  static #describe(folder: string, path: string, description: string): void {
    // One that was stopped before it said so has left no part either.
    const isNew = readdirSync(folder).every((file) => file === lockFile)
    if (isNew) writeWhole(path, description)
    else if (!existsSync(path) || readFileSync(path, 'utf8') !== description)
      throw new QuantizeError(
        `${folder} holds what another run has left, with another recipe, model or calibration; remove it to start anew`,
      )
  }

  has(part: string): boolean {
    return existsSync(this.#path(part))
  }

  async write(part: string, tensors: readonly HostTensor[], notes?: unknown): Promise<void> {
    if (notes !== undefined) writeWhole(join(this.folder, `${part}.json`), JSON.stringify(notes))
    const writer = await SafetensorsWriter.create(this.#path(part), tensors)
    try {
      for (const { name, bytes } of tensors) await writer.write(name, bytes)
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
  }

  /** What tensors a part has. */
  plans(part: string): TensorPlan[] {
    const file = openSafetensors(this.#path(part))
    try {
      return file.names.map((name) => {
        const { dtype, shape } = file.info(name)
        return { name, dtype: dtype as DType, shape }
      })
    } finally {
      file.close()
    }
  }

  /** The tensors of a part, one at a time. */
  *read(part: string): Generator<HostTensor> {
    const file = openSafetensors(this.#path(part))
    try {
      for (const name of file.names) yield file.read(name)
    } finally {
      file.close()
    }
  }

  notes(part: string): unknown {
    const path = join(this.folder, `${part}.json`)
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined
  }

  remove(part: string): void {
    rmSync(this.#path(part), { force: true })
  }

  /** Removes the folder, unless there is a part whose name begins so. */
  discardUnless(prefix: string): void {
    if (existsSync(this.folder) && !readdirSync(this.folder).some((file) => file.startsWith(prefix)))
      this.discard()
  }

  /** Lets others have the folder. */
  close(): void {
    unlockFolder(this.folder)
  }

  discard(): void {
    this.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #path(part: string): string {
    return join(this.folder, `${part}.safetensors`)
  }
}

/** Removes files that another process, which was killed, has left half-written; none may be writing to the folder. */
export function removePartials(folder: string): void {
  for (const file of readdirSync(folder))
    if (/\.\d+\.partial$/.test(file) && !file.endsWith(`.${process.pid}.partial`))
      rmSync(join(folder, file), { force: true })
}

function writeWhole(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.partial`
  writeFileSync(temporary, text)
  renameSync(temporary, path)
}

/** What of a model's folder tells it from another one, or from what it was before. */
export function sourceFingerprint({ folder, config }: Checkpoint): unknown {
  const files = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith('.safetensors'))
        .sort()
        .map((name) => {
          const { size, mtimeMs } = statSync(join(folder, name))
          return [name, size, mtimeMs]
        })
    : []
  return { folder: existsSync(folder) ? realpathSync(folder) : folder, config, files }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
