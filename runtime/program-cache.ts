import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config, Program } from '../codegen/program.ts'
import type { Target } from '../codegen/target.ts'
import type { Kernel } from '../dsl/kernel.ts'
import { canonicalJson } from './canonical-json.ts'
import { compilerFingerprint } from './compiler-fingerprint.ts'
import type { StoreStatistics } from './file-store.ts'
import { absolutePath, packageRoot, portablePath } from './package-root.ts'
import { ProgramStore } from './program-store.ts'

/**
 * Compiled programs by (kernel, configuration, target, compiler): in memory, then on disk, then compiled.
 *
 * A program on disk counts only while every source file that it was compiled from has the same text. The compiler, and
 * TypeScript with it, is imported on a miss alone.
 */
export class ProgramCache {
  readonly #stores: readonly ProgramStore[]
  readonly #compile: Compile
  readonly #fingerprint: () => string
  readonly #programs = new Map<string, Promise<Program>>()
  readonly #hashes = new Map<string, Promise<string | undefined>>()
  #hits = 0
  #misses = 0

  constructor(options: ProgramCacheOptions) {
    this.#stores = options.stores
    this.#compile = options.compile ?? compileLazily
    this.#fingerprint = options.fingerprint ?? compilerFingerprint
  }

  /** The program of a kernel for a configuration and a target. Throws `Diagnostic` when the kernel does not compile. */
  load<A, C>(kernel: Kernel<A, C>, config: C, target: Target): Promise<Program> {
    const key = this.#key(kernel as unknown as Kernel, config as Config, target)
    let program = this.#programs.get(key)
    if (!program) {
      program = this.#find(key, kernel as unknown as Kernel, config as Config, target)
      this.#programs.set(key, program)
      program.catch(() => this.#programs.delete(key))
    }
    return program
  }

  /** Counts of this process and the state of the folder. */
  async statistics(): Promise<CacheStatistics> {
    const store = await this.#stores[0]?.statistics()
    return { hits: this.#hits, misses: this.#misses, store: store ?? null }
  }

  #key(kernel: Kernel, config: Config, target: Target): string {
    const path = portablePath(fileURLToPath(kernel.url))
    const constants = canonicalJson(config, 'the configuration')
    return sha256([path, kernel.name, constants, target.name, this.#fingerprint()].join('\n')).slice(0, 40)
  }

  async #find(key: string, kernel: Kernel, config: Config, target: Target): Promise<Program> {
    for (const store of this.#stores) {
      const program = await store.read(key)
      if (program && (await this.#isCurrent(program))) {
        this.#hits++
        return withPaths(program, absolutePath)
      }
    }
    this.#misses++
    const program = await this.#compile(kernel, config, target)
    await this.#stores[0]?.write(key, withPaths(program, portablePath))
    return program
  }

  /** Whether every source file still has the text that the program was compiled from. */
  async #isCurrent(program: Program): Promise<boolean> {
    const checks = program.sources.map(async ({ path, sha256 }) => (await this.#hash(path)) === sha256)
    return checks.length > 0 && (await Promise.all(checks)).every(Boolean)
  }

  #hash(path: string): Promise<string | undefined> {
    let hash = this.#hashes.get(path)
    if (!hash) {
      hash = readFile(absolutePath(path)).then(sha256, () => undefined)
      this.#hashes.set(path, hash)
    }
    return hash
  }
}

export type Compile = (kernel: Kernel, config: Config, target: Target) => Program | Promise<Program>

export interface ProgramCacheOptions {
  /** Read in order; the first is also written. */
  readonly stores: readonly ProgramStore[]
  /** Replaces the compiler. */
  readonly compile?: Compile
  /** Replaces the fingerprint of the compiler's own files. */
  readonly fingerprint?: () => string
}

export interface CacheStatistics {
  /** Programs found on disk by this process. */
  readonly hits: number
  /** Programs compiled by this process. */
  readonly misses: number
  /** `null` when the cache is off. */
  readonly store: StoreStatistics | null
}

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

const withPaths = (program: Program, map: (path: string) => string): Program => ({
  ...program,
  sources: program.sources.map((source) => ({ ...source, path: map(source.path) })),
})

async function compileLazily(kernel: Kernel, config: Config, target: Target): Promise<Program> {
  const { compileKernel } = await import('../codegen/compile.ts')
  return compileKernel(kernel, config, target)
}

/** Programs that the package ships for its own kernels; written by `quattuor build`. */
const shippedPrograms = (): string => join(packageRoot(), 'dist', 'programs')

/**
 * The user's cache folder: `QUATTUOR_CACHE` (`off` for none), else `quattuor` in `XDG_CACHE_HOME`, else in `~/.cache`.
 */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string | null {
  if (env.QUATTUOR_CACHE === 'off') return null
  if (env.QUATTUOR_CACHE) return env.QUATTUOR_CACHE
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'quattuor')
}

let shared: ProgramCache | undefined

/** The cache of this process: the user's folder, then the programs shipped with the package. */
export function programCache(): ProgramCache {
  if (shared) return shared
  const folder = cacheFolder()
  const stores =
    folder === null ? [] : [new ProgramStore(join(folder, 'programs')), new ProgramStore(shippedPrograms())]
  shared = new ProgramCache({ stores })
  return shared
}

/** `load` of this process's cache. */
export function loadProgram<A, C>(kernel: Kernel<A, C>, config: C, target: Target): Promise<Program> {
  return programCache().load(kernel, config, target)
}
