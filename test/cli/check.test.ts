import { writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assertRefused, runCli, temporaryFolder } from '../support/run-cli.ts'

const examples = resolve(dirname(fileURLToPath(import.meta.url)), '../../examples')
const folder = temporaryFolder()

function write(name: string, body: string, imports = ''): string {
  const path = join(folder, name)
  writeFileSync(
    path,
    `import { f32, type In, kernel, type Out, threadIdx${imports} } from 'quattuor'

export const scale = kernel(
  import.meta.url,
  { grid: () => [1], block: [32] },
  function scale(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = threadIdx.x
    ${body}
  },
)
`,
  )
  return path
}

test('a file without errors is said to be, with the kernels that were compiled', async () => {
  const file = join(examples, '1-vector-add.ts')
  assert.equal(await runCli('check', file), { code: 0, out: `${file}: no errors in add\n`, err: '' })
  const { out } = await runCli('check', join(examples, '2-rmsnorm.ts'), '--config', '{"H": 512}', '--json')
  const { files } = JSON.parse(out)
  assert.equal([files[0].errors, files[0].kernels], [[], { rmsNorm: 1 }])
})

test('a kernel that lacks constants is type-checked alone, and the output says so', async () => {
  const file = join(examples, '2-rmsnorm.ts')
  const { code, out } = await runCli('check', file)
  assert.is(code, 0)
  assert.is(out, `${file}: no errors in rmsNorm (types alone: give its constants with --config)\n`)
  assertRefused(await runCli('check', file, '--config', '{}'), 'kernel rmsNorm needs the constant H: number')
})

test("a type error is shown in the source's line by TypeScript's own message", async () => {
  const file = write('type-error.ts', 'a.out.putt(a.x.at(i), i)')
  const { code, out, err } = await runCli('check', file)
  assert.equal([code, out], [2, ''])
  assert.match(err, /^E\d{4} {2}Property 'putt' does not exist.*type-error\.ts:8:11\n/)
  assert.match(err, '   8 │     a.out.putt(a.x.at(i), i)\n     │           ^^^^\n')
  assert.match(err, /\n1 error\n$/)
  assert.not.match(err, /\n\s+at /)
})

test('an error of the language is shown with what to write instead', async () => {
  const file = write('division.ts', 'a.out.put(a.x.at(i / 2), i)')
  const { code, out, err } = await runCli('check', file)
  assert.equal([code, out], [2, ''])
  assert.match(err, /^E\d{4} {2}.*division\.ts:8:\d+\n/)
  assert.match(err, /\n +│ +\^+\n/)
  assert.match(err, /help {2}.*idiv/)
})

test('a file that does not parse shows where', async () => {
  const { code, err } = await runCli('check', write('syntax.ts', 'a.out.put(a.x.at(i), i'))
  assert.is(code, 2)
  assert.match(err, /^E0001 {2}.*syntax\.ts:\d+:\d+\n/)
})

test('errors of several files are reported together, as JSON where asked', async () => {
  const files = [write('one.ts', 'a.out.putt(0, i)'), write('two.ts', 'a.out.put(a.x.at(i / 2), i)')]
  const { code, out, err } = await runCli('check', ...files, '--json')
  assert.equal([code, err], [2, ''])
  const report = JSON.parse(out)
  assert.equal(
    report.files.map((each: { file: string; errors: unknown[] }) => [each.file, each.errors.length]),
    files.map((file) => [file, 1]),
  )
  const { code: id, message, range } = report.files[0].errors[0]
  assert.match(id, /^E\d{4}$/)
  assert.match(message, 'putt')
  assert.equal([range.file, range.start], [files[0], { line: 8, column: 11 }])
})

test('what is no kernel file is refused in one sentence', async () => {
  assertRefused(await runCli('check', join(folder, 'none.ts')), 'none.ts does not exist')
  const empty = join(folder, 'empty.ts')
  writeFileSync(empty, 'export const x: number = 1\n')
  assertRefused(await runCli('check', empty), 'exports no kernel')
})

test.run()
