import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Runs every test file in a process of its own, several at a time, and closes with one line `N passed, N failed`.
 *
 *   npm test                     every file but `test/gpu/`, two at a time
 *   npm test -- layout emulator  files whose path contains one of the words
 *   npm run test:gpu             the files of `test/gpu/`, on the built code, half as many at a time as there are cores
 *   npm test -- --jobs 4         so many at a time
 *
 * A file that dies, closes without uvu's summary, runs no test (a forgotten `test.run()`) or skips one without a line
 * `skipped: …, because …` counts as one failure. Its lines `progress: …` on standard error are shown as they come.
 *
 * All files share a cache of compiled kernels that begins empty and goes when the run ends: what one has compiled the next
 * one loads, and nobody's own cache is read or written. `test:gpu` keeps the user's, for the cubins in it.
 */

const root = dirname(fileURLToPath(import.meta.url))
const suffix = import.meta.url.endsWith('.ts') ? '.test.ts' : '.test.js'
const timeoutMs = 8 * 60_000
const gpu = process.argv.includes('--gpu')

/** Where the run's compiled kernels are. */
function makeCache(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-test-cache-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  return folder
}

const environment = {
  ...process.env,
  NO_COLOR: '1',
  FORCE_COLOR: '0',
  ...(!gpu && { QUATTUOR_CACHE: makeCache() }),
}

interface Outcome {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly seconds: number
  readonly output: string
  readonly problem: string | undefined
}

function testFiles(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(dir, entry.name)
      return entry.isDirectory() ? testFiles(path) : entry.name.endsWith(suffix) ? [path] : []
    })
    .sort()
}

function runFile(file: string): Promise<Outcome> {
  const start = performance.now()
  const args = suffix === '.test.ts' ? ['--import', 'tsx', file] : [file]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environment,
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
    for (const line of chunk.split('\n'))
      if (line.startsWith('progress: ')) console.log(`     ${relative(root, file)}  ${line.slice(10)}`)
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve(summarize(relative(root, file), output, code, signal, (performance.now() - start) / 1000))
    })
  })
}

function summarize(
  file: string,
  output: string,
  code: number | null,
  signal: string | null,
  seconds: number,
): Outcome {
  const count = (label: string) =>
    [...output.matchAll(new RegExp(`^\\s*${label}:\\s+(\\d+)`, 'gm'))].reduce(
      (sum, match) => sum + Number(match[1]),
      0,
    )
  const total = count('Total')
  const passed = count('Passed')
  const skipped = count('Skipped')
  const failed = total - passed
  let problem: string | undefined
  if (signal) problem = `ended by ${signal}`
  else if (total + skipped === 0) problem = 'ran no test: does it call test.run()?'
  else if (code !== 0 && failed === 0) problem = `exited with code ${code}`
  else if (skipped > 0 && !/^skipped: /m.test(output)) problem = 'skips tests and does not say why'
  return { file, passed, failed: problem ? Math.max(failed, 1) : failed, skipped, seconds, output, problem }
}

function report(outcome: Outcome): void {
  const { file, passed, failed, skipped, seconds, problem } = outcome
  const verdict = failed ? 'FAIL' : 'ok  '
  const counts = `${passed} passed${failed ? `, ${failed} failed` : ''}${skipped ? `, ${skipped} skipped` : ''}`
  console.log(`${verdict} ${file}  ${counts}  ${seconds.toFixed(1)} s${problem ? `  (${problem})` : ''}`)
  if (failed) console.log(outcome.output)
  else for (const line of outcome.output.split('\n')) if (/^skipped: /.test(line)) console.log(`     ${line}`)
}

const args = process.argv.slice(2)
const jobsAt = args.indexOf('--jobs')
const cores = availableParallelism()
const jobs = jobsAt < 0 ? (gpu ? Math.ceil(cores / 2) : Math.min(2, cores)) : Number(args[jobsAt + 1])
if (!(Number.isInteger(jobs) && jobs > 0)) {
  console.error('--jobs takes a number: how many files run at a time')
  process.exit(2)
}
const words = args.filter((arg, i) => !arg.startsWith('--') && (jobsAt < 0 || i !== jobsAt + 1))
const files = testFiles(root)
  .filter((file) => gpu === relative(root, file).startsWith('gpu'))
  .filter((file) => words.length === 0 || words.some((word) => relative(root, file).includes(word)))

const outcomes: Outcome[] = []
const queue = [...files]
await Promise.all(
  Array.from({ length: jobs }, async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const outcome = await runFile(file)
      outcomes.push(outcome)
      report(outcome)
    }
  }),
)

const sum = (pick: (outcome: Outcome) => number) =>
  outcomes.reduce((total, outcome) => total + pick(outcome), 0)
const failed = sum((o) => o.failed)
const skipped = sum((o) => o.skipped)
if (files.length === 0) console.log(`no test file matches ${words.join(' ') || 'the folder'}`)
console.log(`\n${sum((o) => o.passed)} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed > 0 || files.length === 0 ? 1 : 0
