import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { finished, runCli, temporaryFolder } from './run-cli.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/**
 * Tests a page of `docs/` that is followed at the keyboard: each command whose output stands under it is run and prints that,
 * with the files `my/…` of the page in place, and what the page quotes of an example stands there.
 */
export function testPage(name: string): void {
  const page = readFileSync(join(root, 'docs', name), 'utf8')
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'my'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const [, file, code] of page.matchAll(/```ts\n\/\/ (my\/\S+)\n([\s\S]*?)```/g))
    writeFileSync(join(folder, file!), `// ${file}\n${code!}`)

  for (const [, command, shown] of page.matchAll(/```sh\n([^\n]*)\n```\n\n```text\n([\s\S]*?)```/g))
    test(`${command} shows what docs/${name} says`, async () => {
      assert.match(await execute(command!, folder), patternOf(shown!))
    })

  test(`what docs/${name} quotes of a file stands there`, () => {
    for (const [, path, code] of page.matchAll(/```ts\n\/\/ (examples\/\S+)\n([\s\S]*?)```/g))
      assert.ok(readFileSync(join(root, path!), 'utf8').includes(code!), path)
  })
}

/**
 * Runs a command of a page from the repository, with `my/` in `folder`: `quattuor` in this process, which has the compiler
 * loaded, and whatever begins otherwise in a shell.
 */
async function execute(command: string, folder: string): Promise<string> {
  const placed = command.replaceAll(/\bmy\//g, `${folder}/my/`)
  const shown = placed.startsWith('quattuor ') ? await runHere(placed) : await runInShell(placed)
  return shown.replaceAll(`${folder}/my/`, 'my/')
}

/** A shell takes the words of the command line apart, as it would for the program. */
async function runHere(command: string): Promise<string> {
  const words = execFileSync('bash', ['-c', `quattuor() { printf '%s\\0' "$@"; }\n${command}`], {
    encoding: 'utf8',
  })
  const { out, err } = await runCli(...words.split('\0').slice(0, -1))
  return out + err
}

async function runInShell(command: string): Promise<string> {
  const quattuor = `quattuor() { "${process.execPath}" --import tsx "${join(root, 'cli/main.ts')}" "$@"; }`
  const tsx = `npx() { shift; "${process.execPath}" --import tsx "$@"; }`
  const env = { QUATTUOR_DEVICE: 'emulator', ...process.env }
  const child = spawn('bash', ['-c', `${quattuor}\n${tsx}\n(${command}) 2>&1`], { cwd: root, env })
  return (await finished(child)).out
}

/** A pattern of a shown output, in which `…` stands for anything; runs of spaces may differ. */
function patternOf(shown: string): RegExp {
  const words = shown.trim().split(/(…|\s+)/)
  const escaped = words.map((word) =>
    word === '…' ? '[\\s\\S]*?' : /^\s+$/.test(word) ? '\\s*' : word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  )
  return new RegExp(`^\\s*${escaped.join('')}\\s*$`)
}
