import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import koffi from 'koffi'

/** One launch that reached the driver. */
export interface RecordedLaunch {
  readonly grid: readonly [number, number, number]
  readonly block: readonly [number, number, number]
  readonly sharedBytes: number
  readonly stream: number
  /** The one attribute that a launch may have, by its id. */
  readonly attribute: { readonly id: number; readonly value: number } | undefined
  readonly function: number
  readonly args: Buffer
}

/** A tensor map as the stub driver encodes it. */
export function decodeTensorMap(bytes: Buffer) {
  const rank = bytes.readUInt32LE(4)
  const words = (at: number, count: number) =>
    Array.from({ length: count }, (_, i) => bytes.readUInt32LE(at + 4 * i))
  const longs = (at: number, count: number) =>
    Array.from({ length: count }, (_, i) => Number(bytes.readBigUInt64LE(at + 8 * i)))
  const [type, , interleave, swizzle, promotion, fill] = words(0, 6)
  return {
    ...{ type, interleave, swizzle, promotion, fill },
    box: words(24, rank),
    steps: words(36, rank),
    address: longs(48, 1)[0],
    extents: longs(56, rank),
    strides: longs(80, rank - 1),
  }
}

/** The stub driver and what tests tell and ask it. */
export interface Stub {
  /** The library's file, for `openCuda` and `CUDA_DRIVER`. */
  readonly library: string
  reset(): void
  /** Makes the call of `name` that follows `after` others answer `result`, once. */
  fail(name: string, result: number, after?: number): void
  /** What the driver's compiler logs: as an error when it fails, as information otherwise. */
  jitLog(log: string): void
  /** How long the linker compiles, and whether it wants a context on the calling thread. */
  compile(ms: number, needsContext?: boolean): void
  /** The most programs that were compiled at once. */
  mostCompiling(): number
  /** Lets the work in flight fault: the next wait, and everything after it, answers `result`. */
  fault(result: number): void
  /** Keeps streams and events busy from now on. */
  busy(ms: number): void
  devices(count: number, capability: number): void
  threadsPerBlock(most: number): void
  launches(): RecordedLaunch[]
  /** Things made in the driver that were not given back. */
  live(): number
  optInBytes(): number
  called(name: string): number
}

/**
 * Compiles the stub into a temporary folder, removed when the process ends. Without a C compiler prints why the tests
 * are skipped and returns `undefined`.
 */
export function buildStub(): Stub | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-stub-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const library = join(folder, 'libcuda-stub.so')
  const source = fileURLToPath(new URL('./libcuda.c', import.meta.url)).replace('/dist/test/', '/test/')
  const built = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-Wall', '-o', library, source], {
    encoding: 'utf8',
  })
  if (built.error) {
    console.log('skipped: the CUDA bindings on a stub driver, because there is no C compiler (cc)')
    return undefined
  }
  if (built.status !== 0) throw new Error(`cc refuses the stub driver:\n${built.stderr}`)
  return bind(library)
}

function bind(library: string): Stub {
  const handle = koffi.load(library)
  const text = 'str'
  const pointer = 'void *'
  const reset = handle.func('stub_reset', 'void', [])
  const fail = handle.func('stub_fail', 'void', [text, 'int', 'int'])
  const jitLog = handle.func('stub_jit_log', 'void', [text])
  const compile = handle.func('stub_compile', 'void', ['int', 'int'])
  const mostCompiling = handle.func('stub_most_compiling', 'int', [])
  const fault = handle.func('stub_fault', 'void', ['int'])
  const busy = handle.func('stub_busy', 'void', ['int'])
  const devices = handle.func('stub_devices', 'void', ['int', 'int'])
  const threads = handle.func('stub_threads', 'void', ['int'])
  const count = handle.func('stub_launches', 'int', [])
  const launch = handle.func('stub_launch', 'int', ['int', pointer, pointer, pointer, pointer])
  const live = handle.func('stub_live', 'int', [])
  const optIn = handle.func('stub_opt_in', 'int', [])
  const called = handle.func('stub_called', 'int', [text])

  const launchAt = (i: number): RecordedLaunch => {
    const config = Buffer.alloc(56)
    const args = Buffer.alloc(512)
    const attribute = Buffer.alloc(72)
    const info = new BigUint64Array(2)
    launch(i, config, args, attribute, info)
    const word = (at: number) => config.readUInt32LE(at)
    return {
      grid: [word(0), word(4), word(8)],
      block: [word(12), word(16), word(20)],
      sharedBytes: word(24),
      stream: Number(config.readBigUInt64LE(32)),
      attribute:
        word(48) === 1 ? { id: attribute.readUInt32LE(0), value: attribute.readUInt32LE(8) } : undefined,
      function: Number(info[0]),
      args: args.subarray(0, Number(info[1])),
    }
  }
  return {
    library,
    reset,
    fail: (name, result, after = 0) => fail(name, result, after),
    jitLog,
    compile: (ms, needsContext = false) => compile(ms, Number(needsContext)),
    mostCompiling,
    fault,
    busy,
    devices,
    threadsPerBlock: threads,
    launches: () => Array.from({ length: count() as number }, (_, i) => launchAt(i)),
    live,
    optInBytes: optIn,
    called,
  }
}
