import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import benny from 'benny'
import { Command } from 'commander'
import type { Config, Program } from '../codegen/program.ts'
import type { Target } from '../codegen/target.ts'
import { builtinKernels } from '../kernels/builtin.ts'
import { gemmConstants, gemmKernel } from '../kernels/gemm/operands.ts'
import { gemmSpace } from '../kernels/gemm/space.ts'
import { canonicalJson } from '../runtime/canonical-json.ts'
import { CubinCache } from '../runtime/cuda/cubin-cache.ts'
import { openCuda } from '../runtime/cuda/device.ts'
import type { Device } from '../runtime/device.ts'
import { FileStore } from '../runtime/file-store.ts'
import { openDevice } from '../runtime/open-device.ts'
import { loadProgram, ProgramCache } from '../runtime/program-cache.ts'
import { ProgramStore } from '../runtime/program-store.ts'
import { gemmCase, layerProducts, type Product } from './cases/gemm.ts'
import { kernelCases, llama3of8B } from './cases/index.ts'
import { type KernelCase, kernelCase } from './cases/kernel-case.ts'
import { runBench } from './command.ts'
import { type Row, writeResults } from './results.ts'
import { table } from './table.ts'

/** Prompts, for which Hopper GPUs have kernels of their own. */
const promptTokens = 4096

/** What such a model runs besides its products. */
const others = [
  ...['embedTokens', 'rmsNormQuantize', 'rmsNormRows', 'quantizeRows', 'siluMulQuantize', 'ropeAppend'],
  ...['planAttention', 'decodeAttention', 'planPrefill', 'prefillAttention'],
  ...['sampleTokens', 'reportLogProbs', 'openSlot'],
]

/** The kernels of a W4A8KV4 Llama 3 8B, for decoding alone, 64 at once and prompts, each configuration once. */
function modelKernels(device: Device): KernelCase[] {
  const [qkv] = layerProducts(llama3of8B)
  const cases = [
    ...kernelCases(llama3of8B, device, true).filter(
      ({ kernel, parameters }) =>
        kernel.name === 'gemm16' || (kernel.name === 'gemmW4A8' && parameters.format === 'w4a8'),
    ),
    gemmCase(qkv!, promptTokens, { format: 'w4a8', zero: 'epilogue' }, device),
    ...wgmmaCases(device.target),
    ...builtinKernels(device.target, llama3of8B)
      .filter(({ kernel, config: { kv = 'kv4' } }) => others.includes(kernel.name) && kv === 'kv4')
      .map((each) => kernelCase({ ...each, parameters: {}, args: {} })),
  ]
  const distinct = new Map(cases.map((c) => [c.kernel.name + canonicalJson(c.config, 'a configuration'), c]))
  return [...distinct.values()]
}

/** The largest kernel on `wgmma` that the tuner tries for prompts, where the target has `wgmma`. */
function wgmmaCases(target: Target): KernelCase[] {
  const [{ N, K }] = layerProducts(llama3of8B) as [Product]
  const [tiles] = gemmSpace('w4a8')
    .configurations(target, { M: promptTokens, N, K })
    .filter(({ path }) => path === 'wgmma')
  if (!tiles) return []
  const parameters = { product: 'on wgmma', tokens: promptTokens }
  const config = gemmConstants('w4a8', { N, K }, tiles, { dtype: 'f16' })
  return [kernelCase({ kernel: gemmKernel('w4a8'), config, parameters, args: {} })]
}

const milliseconds = async <T>(work: () => T | Promise<T>): Promise<[number, T]> => {
  const started = performance.now()
  const result = await work()
  return [performance.now() - started, result]
}

const total = (rows: readonly Row[], name: string) => rows.reduce((sum, row) => sum + Number(row[name]), 0)

/** Compiles every kernel twice: the first of all also loads TypeScript. */
async function measureCompiler(kernels: readonly KernelCase[], target: Target): Promise<Row[]> {
  const [importMs, { compileKernel }] = await milliseconds(() => import('../codegen/compile.ts'))
  const compile = (c: KernelCase): Program | Promise<Program> =>
    compileKernel(c.kernel, c.config as Config, target)
  const rows: Row[] = []
  for (const c of kernels) {
    const [firstMs, program] = await milliseconds(() => compile(c))
    const { product, tokens } = c.parameters
    const size = [product, tokens]
      .filter((part) => part !== undefined)
      .map((part) => ` ${part}`)
      .join('')
    rows.push({
      measured: `compile ${c.kernel.name}${size}`,
      firstMs,
      secondMs: null,
      ptxBytes: program.ptx.length,
    })
  }
  const again: Row[] = []
  for (const [i, c] of kernels.entries()) {
    const [secondMs] = await milliseconds(() => compile(c))
    again.push({ ...rows[i]!, secondMs })
  }
  return [
    { measured: 'import the compiler', firstMs: importMs },
    ...again,
    {
      measured: `compile ${kernels.length} kernels`,
      firstMs: total(again, 'firstMs'),
      secondMs: total(again, 'secondMs'),
      ptxBytes: total(again, 'ptxBytes'),
    },
  ]
}

/** Takes every kernel from the cache on disk, as a process does that starts warm. */
async function measureCache(kernels: readonly KernelCase[], target: Target): Promise<Row> {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-bench-'))
  try {
    const loadAll = async () => {
      const cache = new ProgramCache({ stores: [new ProgramStore(folder)] })
      for (const c of kernels) await cache.load(c.kernel, c.config as Config, target)
    }
    await loadAll()
    const { results } = await benny.suite(
      'warm start',
      benny.add('all kernels', loadAll, { minSamples: 5, maxTime: 2 }),
    )
    const ms = 1000 * results[0]!.details.median
    return { measured: `load ${kernels.length} cached kernels`, ms, msEach: ms / kernels.length }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Has the driver compile every program, several at once, and then takes them from the cache. */
async function measureDriver(kernels: readonly KernelCase[]): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-bench-'))
  const rows: Row[] = []
  try {
    for (const start of ['cold', 'warm']) {
      const cubins = new CubinCache(new FileStore(folder, '.cubin'))
      const device = openCuda(0, { cubins })
      const programs = await Promise.all(
        kernels.map((c) => loadProgram(c.kernel, c.config as Config, device.target)),
      )
      const [ms] = await milliseconds(() => device.loadAll(programs))
      const { compiled, cached } = await cubins.statistics()
      const how = `${compiled} compiled by the driver, ${cached} from the cache`
      rows.push({ measured: `load ${programs.length} programs, ${start}: ${how}`, ms })
      await device.close()
    }
    return rows
  } finally {
    rmSync(folder, { recursive: true })
  }
}

await runBench(
  new Command('bench:compile')
    .description('Time to compile, by us and by the driver, and to start warm.')
    .option('--commit <id>', 'the commit, where git is not there (default: QUATTUOR_COMMIT)')
    .action(async (options: { readonly commit?: string }) => {
      const device = await openDevice()
      const kernels = modelKernels(device)
      const rows = [
        ...(await measureCompiler(kernels, device.target)),
        await measureCache(kernels, device.target),
        ...(device.name === 'emulator' ? [] : await measureDriver(kernels)),
      ]
      console.log(table(rows))
      console.log(`wrote ${writeResults(device, 'compile', rows, options)}`)
      await device.close()
    }),
)
