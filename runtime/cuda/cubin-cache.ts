import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Program } from '../../codegen/program.ts'
import { FileStore, type StoreStatistics } from '../file-store.ts'
import { cacheFolder } from '../program-cache.ts'
import type { Cubin } from './jit.ts'

/** What a cubin belongs to besides the text of its program. */
export interface CubinTarget {
  /** The target's name, `sm_90a`. */
  readonly target: string
  /** Compute capability as `9.0`. */
  readonly capability: string
  /** CUDA version of the driver as `13.0`. */
  readonly driver: string | null
}

export interface CubinStatistics {
  /** Programs that this process had the driver compile. */
  readonly compiled: number
  /** Programs that this process found on disk: their cubins or, of whole programs, their logs. */
  readonly cached: number
  /** `null` when the cache is off. */
  readonly store: StoreStatistics | null
}

/** To be changed with the options that the driver's compiler is given. */
const recipe = 'verbose, line-info'

/**
 * What the driver's compiler made of programs, on disk: a process that starts warm compiles nothing but whole programs
 * (`isWholeProgram`) that the driver's own cache has dropped. Of those it has the log, beside an empty image.
 *
 * A cubin belongs to the text of its PTX, the GPU's architecture and the driver's build. An entry is a line of JSON (the
 * key again, so that a file under a wrong name is not taken, and the compiler's log) and the image.
 */
export class CubinCache {
  readonly #store: FileStore | null
  #compiled = 0
  #cached = 0

  constructor(store: FileStore | null) {
    this.#store = store
  }

  /** The cubin of a program, or `undefined` when there is none that is whole, and the driver has to compile it. */
  async read(program: Program, target: CubinTarget): Promise<Cubin | undefined> {
    const cubin = await this.#find(program, target)
    if (cubin) this.#cached++
    else this.#compiled++
    return cubin
  }

  async #find(program: Program, target: CubinTarget): Promise<Cubin | undefined> {
    const key = keyOf(program, target)
    const content = await this.#store?.read(key)
    const end = content?.indexOf('\n') ?? -1
    if (!content || end < 0) return undefined
    const head = parseHead(content.toString('utf8', 0, end))
    if (head?.key !== key) return undefined
    return { image: content.subarray(end + 1), log: head.log }
  }

  /** Keeps what the driver has compiled; a folder that cannot be written is reported once and otherwise ignored. */
  async write(program: Program, target: CubinTarget, { image, log }: Cubin): Promise<void> {
    const key = keyOf(program, target)
    const head = JSON.stringify({ key, kernel: program.name, log } satisfies Head & { kernel: string })
    await this.#store?.write(key, Buffer.concat([Buffer.from(`${head}\n`), image]))
  }

  /** Counts of this process and the state of the folder. */
  async statistics(): Promise<CubinStatistics> {
    const store = await this.#store?.statistics()
    return { compiled: this.#compiled, cached: this.#cached, store: store ?? null }
  }
}

interface Head {
  readonly key: string
  readonly log: string
}

function parseHead(text: string): Head | undefined {
  try {
    const { key, log } = JSON.parse(text) as Record<string, unknown>
    return typeof key === 'string' && typeof log === 'string' ? { key, log } : undefined
  } catch {
    return undefined
  }
}

function keyOf(program: Program, { target, capability, driver }: CubinTarget): string {
  return createHash('sha256')
    .update([recipe, target, capability, driver, driverBuild(), program.ptx].join('\n'))
    .digest('hex')
    .slice(0, 40)
}

let build: string | undefined

/** The build of the kernel module, which the library and its compiler share; empty where the system does not say. */
function driverBuild(): string {
  if (build !== undefined) return build
  try {
    build = readFileSync('/proc/driver/nvidia/version', 'utf8').split('\n')[0]!
  } catch {
    build = ''
  }
  return build
}

let shared: CubinCache | undefined

/** The cache of this process, in the user's folder beside the programs. */
export function cubinCache(): CubinCache {
  const folder = cacheFolder()
  shared ??= new CubinCache(folder === null ? null : new FileStore(join(folder, 'cubins'), '.cubin'))
  return shared
}
