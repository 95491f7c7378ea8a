import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { UsageError } from '../../cli/failure.ts'
import { packageRoot } from '../../runtime/package-root.ts'
import { type Shape, shapeName } from './layers.ts'
import { type RivalRow, readRivalRows } from './rows.ts'

/** Measures rivals for a number of tokens, so that they and we find the GPU as warm as each other. */
export interface RivalRunner {
  run(tokens: number): Promise<RivalRow[]>
  close(): Promise<void>
}

/**
 * The hand-written CUDA: its bench is started anew for each number of tokens, and tries its variants that `variants` names
 * (default: all).
 */
export function cudaRunner(
  program: string,
  shapes: readonly Shape[],
  pauseMs: number,
  variants: (tokens: number) => readonly string[] = () => [],
): RivalRunner {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-rival-'))
  return {
    async run(tokens) {
      const json = join(folder, `${tokens}.json`)
      const names = variants(tokens)
      const { error, status, stderr } = spawnSync(
        program,
        [
          ...['--tokens', String(tokens), '--shapes', shapes.map(shapeName).join(',')],
          ...['--pause', String(pauseMs), '--json', json],
          ...(names.length > 0 ? ['--variants', names.join(',')] : []),
        ],
        { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
      )
      if (error) throw new UsageError(`the rival ${program} cannot be run: ${error.message}; build it first`)
      // It says by its exit code that some of its results were wrong; the others are in the file.
      const rows = readRivalRows(json)
      if (rows.length === 0)
        throw new UsageError(`the rival ${program} gave no results (exit code ${status}): ${stderr.trim()}`)
      return rows
    },
    async close() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** cuBLAS through PyTorch: one process, which takes token counts from its standard input. */
export async function torchRunner(
  python: string,
  shapes: readonly Shape[],
  pauseMs: number,
): Promise<RivalRunner> {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-torch-'))
  const script = join(packageRoot(), 'bench', 'rivals', 'torch_gemm.py')
  const args = [script, '--serve', '--shapes', shapes.map(shapeName).join(','), '--pause', String(pauseMs)]
  const child = spawn(python, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let said = ''
  child.stderr.on('data', (text) => {
    said = (said + text).slice(-500)
  })
  const closed = once(child, 'close').catch(() => {})
  const answer = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (!done) return value
    await closed
    throw new UsageError(`cuBLAS cannot be measured: ${said.trim() || `${python} ended`}`)
  }
  try {
    const failed = await Promise.race([answer().then(() => undefined), once(child, 'error')])
    if (failed)
      throw new UsageError(
        `cuBLAS cannot be measured: ${(failed[0] as Error).message}; name a Python that has PyTorch`,
      )
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
  return {
    async run(tokens) {
      const json = join(folder, `${tokens}.json`)
      child.stdin.write(`${tokens} ${json}\n`)
      await answer()
      return readRivalRows(json)
    },
    async close() {
      await ended(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Closes the input of a process and waits until it has ended. */
async function ended(child: ChildProcess & { stdin: NonNullable<ChildProcess['stdin']> }): Promise<void> {
  if (child.exitCode !== null) return
  const over = once(child, 'exit')
  child.stdin.end()
  await over
}

/**
 * The variants of the hand-written CUDA that were the fastest for some shape, as rows have them, for the next fewer and the
 * next more tokens that were measured.
 */
export function bestVariants(rows: readonly RivalRow[], tokens: number): string[] {
  const known = rows.filter(({ source, variant }) => source === 'cuda' && variant !== null)
  const counts = known.map((row) => row.tokens)
  const near = new Set([
    Math.max(...counts.filter((count) => count <= tokens)),
    Math.min(...counts.filter((count) => count >= tokens)),
  ])
  return [
    ...new Set(known.filter((row) => near.has(row.tokens)).flatMap(({ variant }) => variant!.split(' '))),
  ]
}
