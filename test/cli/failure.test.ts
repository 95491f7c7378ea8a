import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { colored } from '../../cli/color.ts'
import { describeFailure, UsageError } from '../../cli/failure.ts'
import { writeWhole } from '../../cli/write-whole.ts'
import { Bug, Diagnostic } from '../../codegen/diagnostics.ts'
import { DeviceError } from '../../runtime/device.ts'
import { prepareProgram } from '../../runtime/kernel.ts'
import { openDevice } from '../../runtime/open-device.ts'
import { Tensor } from '../../runtime/tensor.ts'
import { temporaryFolder } from '../support/run-cli.ts'
import { vectorAdd } from '../support/vector-add.ts'

const thrownBy = (action: () => unknown): unknown => {
  try {
    action()
  } catch (error) {
    return error
  }
  return assert.unreachable('nothing was thrown')
}

test("a user's mistake is one sentence and exit code 2", () => {
  assert.equal(describeFailure(new UsageError('give more')), { text: 'quattuor: give more', exitCode: 2 })
  const missing = thrownBy(() => readFileSync('/nowhere/x'))
  assert.equal(describeFailure(missing), { text: 'quattuor: /nowhere/x does not exist', exitCode: 2 })
  const file = fileURLToPath(import.meta.url)
  const taken = thrownBy(() => mkdirSync(file, { recursive: true }))
  assert.is(
    describeFailure(taken).text,
    `quattuor: ${file} needs a folder where there is a file; name another`,
  )
  const memory = new DeviceError('CUDA_ERROR_OUT_OF_MEMORY', 'cuda:0 has 1 GiB free; take a smaller batch')
  assert.is(describeFailure(memory).exitCode, 2)
})

test('an unknown argument of a kernel is one sentence, which names those that there are', async () => {
  const device = await openDevice('emulator')
  const x = Tensor.allocate(device, 'f32', [4])
  const args = { x, y: x, factor: 2, out: x }
  const unknown = thrownBy(() =>
    prepareProgram(device, vectorAdd('sm_90a'), () => [1], { ...args, outt: x } as never),
  )
  const { text, exitCode } = describeFailure(unknown)
  assert.is(exitCode, 2)
  assert.is(
    text,
    "quattuor: kernel vectorAdd, argument 'outt': there is no such argument; did you mean 'out'?",
  )
  await device.close()
})

test('a fault of ours says so, with exit code 1 and no stack unless asked for', () => {
  for (const error of [
    new TypeError('x is undefined'),
    new Bug('no such op'),
    new DeviceError('EMULATOR_BUG', 'kernel k: x is undefined'),
  ]) {
    const { text, exitCode } = describeFailure(error)
    assert.is(exitCode, 1)
    assert.match(text, /^quattuor: internal error: /)
    assert.match(text, 'please report it with the output of QUATTUOR_DEBUG=1')
    assert.not.match(text, /\n\s+at /)
  }
  process.env.QUATTUOR_DEBUG = '1'
  assert.match(describeFailure(new TypeError('x')).text, /\n\s+at /)
  delete process.env.QUATTUOR_DEBUG
})

test('colours are there on request alone, and change no character', () => {
  const path = '/kernels/a.ts'
  const text = 'const a = 1\nconst b = a / 2\n'
  const span = { source: { path, text, lineStarts: [0, 12] }, start: 22, end: 27 }
  const plain = new Diagnostic('E0105', 'integer division truncates', { span, help: 'idiv(a, 2)' }).render(
    '/',
  )
  const before = process.env.FORCE_COLOR
  process.env.FORCE_COLOR = '0'
  assert.is(colored(plain), plain)
  process.env.FORCE_COLOR = '1'
  const colors = colored(plain)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins every colour
  assert.is(colors.replaceAll(/\x1b\[\d+m/g, ''), plain)
  for (const word of ['E0105', '^^^^^', 'help']) assert.match(colors, `m${word}\x1b[`)
  if (before === undefined) delete process.env.FORCE_COLOR
  else process.env.FORCE_COLOR = before
})

test('a file appears whole, replaces the one before, and leaves no listener behind', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'a.ptx')
  await writeWhole(path, 'one')
  await writeWhole(path, 'two')
  assert.equal([readdirSync(folder), readFileSync(path, 'utf8')], [['a.ptx'], 'two'])
  assert.equal([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')], [0, 0])
})

test('a signal while a file is written waits until it is whole', async () => {
  const path = join(temporaryFolder(), 'a.ptx')
  const seen: string[] = []
  const listen = () => {
    seen.push(readFileSync(path, 'utf8'))
  }
  process.on('SIGTERM', listen)
  process.kill(process.pid, 'SIGTERM')
  await writeWhole(path, 'whole')
  await new Promise((resolve) => setTimeout(resolve, 20))
  process.off('SIGTERM', listen)
  assert.ok(seen.length > 0 && seen.every((text) => text === 'whole'))
})

if (!existsSync('/dev/full')) console.log('skipped: a full disk, because this system has no /dev/full')
else
  test('a full disk is said to be, and nothing is left of the file', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'a.ptx')
    symlinkSync('/dev/full', `${path}.${process.pid}.partial`)
    const error = await writeWhole(path, 'x').catch((reason: unknown) => reason)
    assert.equal(describeFailure(error), {
      text: 'quattuor: the disk is full; free some space and try again',
      exitCode: 2,
    })
    assert.equal(readdirSync(folder), [])
  })

test.run()
