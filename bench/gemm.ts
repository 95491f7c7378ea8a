import { join } from 'node:path'
import { Command, Option } from 'commander'
import { UsageError } from '../cli/failure.ts'
import { collect, numberBetween } from '../cli/options.ts'
import { progressBar } from '../cli/progress.ts'
import type { Program } from '../codegen/program.ts'
import type { Target } from '../codegen/target.ts'
import type { TileConstants } from '../kernels/gemm/operands.ts'
import { hasMma } from '../kernels/gemm/space.ts'
import { cubinCache } from '../runtime/cuda/cubin-cache.ts'
import { DriverError } from '../runtime/cuda/errors.ts'
import type { Device } from '../runtime/device.ts'
import { deviceSlug } from '../runtime/device-slug.ts'
import { openDevice } from '../runtime/open-device.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { loadProgram } from '../runtime/program-cache.ts'
import { gpuState } from '../runtime/tune/gpu-state.ts'
import { runBench } from './command.ts'
import { type BenchFormat, benchFormats } from './gemm/formats.ts'
import { cellsOf, layerShapes, type Shape, shapeName } from './gemm/layers.ts'
import { cellOf, failedCell, measureCell, tilesFor } from './gemm/measure.ts'
import { countsIn, formatsIn, olderIn, shapesIn, targetIn, tilesIn } from './gemm/options.ts'
import { Problem, problemConstants, problemKernel } from './gemm/problem.ts'
import { type Cell, type GemmRow, keyOf, type RivalRow } from './gemm/rows.ts'
import { bestVariants, cudaRunner, type RivalRunner, torchRunner } from './gemm/run-rivals.ts'
import { Store } from './gemm/store.ts'
import { openGpu } from './open-gpu.ts'
import { resultHeader } from './results.ts'

interface GemmOptions {
  readonly device?: string
  readonly formats: readonly BenchFormat[]
  readonly tokens: readonly number[]
  readonly shapes: readonly Shape[]
  readonly tiles?: TileConstants
  readonly json?: string
  readonly onlyMissing?: boolean
  readonly rival: readonly string[]
  readonly torch: readonly string[]
  readonly rivalProgram?: string
  readonly rivalVariants: 'best' | 'all'
  readonly torchPython?: string
  readonly prepare?: Target
  readonly like?: Target
  readonly report?: string
  readonly pause: number
  readonly commit?: string
}

type TunedDevice = Pick<Device, 'name' | 'properties' | 'target'>

/** One product to measure. */
interface Job {
  readonly format: BenchFormat
  readonly cell: Cell
  readonly tiles: TileConstants
}

/** The fewest tokens first: many heat the GPU, whose clock falls. */
const jobsOf = ({ tokens, formats, shapes, tiles, like }: GemmOptions, device: TunedDevice): Job[] =>
  tokens.flatMap((count) =>
    formats
      .filter(({ weights }) => like === undefined || hasMma(weights))
      .flatMap((format) =>
        cellsOf(shapes, count).map((cell) => ({
          format,
          cell,
          tiles: tiles ?? tilesFor(format, cell, device, like),
        })),
      ),
  )

function openStore(options: GemmOptions, gpu: string): Store {
  const folder = join(packageRoot(), 'bench', 'results', gpu)
  const own = options.like ? `gemm-${options.like.name}.json` : 'gemm.json'
  const store = new Store(options.json ?? join(folder, own), join(folder, 'rivals.json'))
  for (const file of [...options.rival, ...options.torch]) store.addRivalFile(file)
  return store
}

function report(options: GemmOptions, gpu: string): void {
  const store = openStore(options, gpu)
  const header = store.header()
  for (const tokens of options.tokens) if (store.text(tokens)) console.log(`${store.text(tokens)}\n`)
  console.log(`${store.text()}\n\nwrote ${store.writePage(header)}`)
}

async function prepareOnly(options: GemmOptions, target: Target): Promise<void> {
  // Records of any GPU that runs programs of the target serve it.
  const properties = { ...(await openDevice('emulator')).properties, description: target.name }
  const jobs = jobsOf(options, { name: 'cuda:0', properties, target })
  const { programs, failures } = await compileAll(jobs, target)
  console.log(`${new Set(programs.values()).size} programs for ${target.name}, ${failures.size} failures`)
  for (const reason of new Set([...failures.values()].map(({ message }) => message))) console.error(reason)
  if (failures.size > 0) process.exitCode = 1
}

async function measure(options: GemmOptions): Promise<void> {
  const device = await openGpu('bench:gemm', options.device)
  try {
    const store = openStore(options, deviceSlug(device))
    const known = new Set(store.rows.filter((row) => row.us !== null).map(keyOf))
    const jobs = jobsOf(options, device).filter(
      (job) => !options.onlyMissing || !known.has(keyOf(cellOf(job.format, job.cell) as GemmRow)),
    )
    const failures = await loadAll(device, jobs)
    const rivals = await openRivals(options, store.rivals)
    const clocks: Record<string, number> = {}
    const finish = () => store.write({ ...resultHeader(device, 'gemm', options), smClockMHzAfter: clocks })
    const started = performance.now()
    try {
      for (const tokens of options.tokens) {
        for (const rival of rivals) store.addRivals(await rival.run(tokens))
        const own = jobs.filter((job) => job.cell.tokens === tokens)
        await measureJobs(device, own, failures, { options, store, finish })
        const { clocks: now } = gpuState(device.name)
        if (now) clocks[tokens] = now.sm
        console.log(`${store.text(tokens)}\n`)
        finish()
      }
    } finally {
      for (const rival of rivals) await rival.close()
    }
    const files = finish()
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    console.log(`${store.text()}\n\nmeasured in ${seconds} s; wrote ${files.join(', ')}`)
    if (jobs.length > 0 && store.rows.every((row) => row.us === null)) process.exitCode = 1
  } finally {
    await device.close()
  }
}

const openRivals = async (
  { rivalProgram, rivalVariants, torchPython, shapes, pause }: GemmOptions,
  known: readonly RivalRow[],
): Promise<RivalRunner[]> => {
  const variants = (tokens: number) => (rivalVariants === 'all' ? [] : bestVariants(known, tokens))
  return [
    ...(rivalProgram === undefined ? [] : [cudaRunner(rivalProgram, shapes, pause, variants)]),
    ...(torchPython === undefined ? [] : [await torchRunner(torchPython, shapes, pause)]),
  ]
}

/** The programs of some jobs, and why others have none. */
async function compileAll(
  jobs: readonly Job[],
  target: Target,
): Promise<{ programs: Map<Job, Program>; failures: Map<Job, Error> }> {
  const programs = new Map<Job, Program>()
  const failures = new Map<Job, Error>()
  const bar = progressBar('Compiling')
  for (const [i, job] of jobs.entries()) {
    bar.update(i, jobs.length)
    try {
      const constants = problemConstants(job.format, job.cell, job.tiles)
      programs.set(job, await loadProgram(problemKernel(job.format), constants, target))
    } catch (error) {
      failures.set(job, error as Error)
    }
  }
  bar.stop()
  return { programs, failures }
}

/** Compiles what all jobs need and has the driver load it, several at once; returns why some could not be. */
async function loadAll(device: Device, jobs: readonly Job[]): Promise<Map<Job, Error>> {
  const started = performance.now()
  const { programs, failures } = await compileAll(jobs, device.target)
  const compiled = performance.now()
  await Promise.all(
    [...programs].map(([job, program]) =>
      device.loadAll([program]).catch((error: Error) => failures.set(job, error)),
    ),
  )
  const loaded = performance.now()
  const seconds = (from: number, to: number) => ((to - from) / 1000).toFixed(1)
  const cubins = await cubinCache().statistics()
  console.log(
    `${new Set(programs.values()).size} programs in ${seconds(started, compiled)} s, loaded in ` +
      `${seconds(compiled, loaded)} s (${cubins.compiled} compiled by the driver, ${cubins.cached} from the cache)\n`,
  )
  return failures
}

const problems = new Map<BenchFormat, Problem>()

/** The operands of a format, which stay on the device. */
function problemOf(device: Device, format: BenchFormat, { tokens, shapes }: GemmOptions): Problem {
  const cells = cellsOf(shapes, Math.max(...tokens))
  const problem = problems.get(format) ?? new Problem(device, format, cells)
  problems.set(format, problem)
  return problem
}

/** A cell takes a fraction of a second. A kernel that waits for itself takes forever. */
const patienceMs = 20_000

/** Measures some jobs, adding each row to the store; `finish` writes what there is before the process ends early. */
async function measureJobs(
  device: Device,
  jobs: readonly Job[],
  failures: ReadonlyMap<Job, Error>,
  { options, store, finish }: { options: GemmOptions; store: Store; finish: () => void },
): Promise<void> {
  const bar = progressBar(`${jobs[0]?.cell.tokens} tokens`)
  const fail = (job: Job, error: Error) =>
    store.add([failedCell(cellOf(job.format, job.cell), job.tiles, error)])
  for (const [i, job] of jobs.entries()) {
    bar.update(i, jobs.length)
    const name = `${job.format.name} ${shapeName(job.cell)}, ${job.cell.tokens} tokens`
    const hung = setTimeout(() => {
      fail(job, new Error('the kernel did not end'))
      finish()
      console.error(`${name}: the kernel did not end in ${patienceMs / 1000} s; go on with --only-missing`)
      // A thread still waits for the GPU, which an ordinary end would wait for.
      process.kill(process.pid, 'SIGKILL')
    }, patienceMs)
    try {
      const failure = failures.get(job)
      if (failure) throw failure
      const problem = problemOf(device, job.format, options)
      store.add([await measureCell(problem, job.cell, job.tiles, options.pause)])
    } catch (error) {
      fail(job, error as Error)
      if (error instanceof DriverError && error.fatal) {
        finish()
        throw new UsageError(
          `${name}: ${error.message}; the GPU is lost to this process, go on with --only-missing`,
        )
      }
    } finally {
      clearTimeout(hung)
    }
  }
  bar.stop()
}

const defaultTokens = [1, 16, 64, 128, 256, 512, 1024, 4096]
const allNames = benchFormats.map(({ name }) => name).join(',')

const repeated = (flags: string, what: string) =>
  new Option(flags, `${what}; may be given again`).argParser(collect).default([], 'none')

await runBench(
  new Command('bench:gemm')
    .description('Quantized matrix products on a GPU, checked and timed, beside what others reach there.')
    .option('--device <name>', 'cuda:0, cuda:1, … (default: the first GPU)')
    .addOption(
      new Option('--formats <names>', `some of ${allNames}`)
        .argParser(formatsIn)
        .default(benchFormats, 'all'),
    )
    .addOption(
      new Option('--tokens <counts>', 'numbers of tokens')
        .argParser(countsIn)
        .default(defaultTokens, defaultTokens.join(',')),
    )
    .addOption(
      new Option('--shapes <NxK,...>', 'features x columns')
        .argParser(shapesIn)
        .default(layerShapes, layerShapes.map(shapeName).join(',')),
    )
    .option('--tiles <json>', 'tile constants in place of those that a model would take', tilesIn)
    .option(
      '--like <target>',
      'the tiles of sm_80, sm_86 or sm_89, on mma.sync; writes gemm-TARGET.json',
      olderIn,
    )
    .option('--only-missing', 'measure only what the results do not have')
    .option('--json <file>', 'results (default: bench/results/GPU/gemm.json)')
    .addOption(repeated('--rival <file>', 'rows of the hand-written CUDA'))
    .addOption(repeated('--torch <file>', 'rows of bench/rivals/torch_gemm.py'))
    .option('--rival-program <file>', 'run the hand-written CUDA in turns with ours')
    .addOption(
      new Option('--rival-variants <which>', 'those on record as the fastest of a product, or all that fit')
        .choices(['best', 'all'])
        .default('best'),
    )
    .option('--torch-python <program>', 'run cuBLAS in turns with ours, by a Python that has PyTorch')
    .option('--prepare <target>', 'measure nothing, and compile the kernels into the cache', targetIn)
    .option('--report <gpu>', 'measure nothing, and show the results of nvidia-h200, …')
    .option('--pause <ms>', 'rest before each measurement', numberBetween(0, 10_000), 30)
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .addHelpText(
      'after',
      `
Examples:
  $ npm run bench:gemm
  $ npm run bench:gemm -- --formats w4a8,w4a8-g128 --tokens 1,16,64
  $ npm run bench:gemm -- --rival-program rival/build/bench --torch-python python3
  $ npm run bench:gemm -- --report nvidia-h200`,
    )
    .action((options: GemmOptions) => {
      if (options.report !== undefined) return report(options, options.report)
      if (options.prepare) return prepareOnly(options, options.prepare)
      return measure(options)
    }),
)
