import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { EmulatorDevice } from '../../runtime/emulator/device.ts'
import { describeDevices, openDevice } from '../../runtime/open-device.ts'
import { vectorAdd } from '../support/vector-add.ts'
import { buildStub } from './cuda/stub/stub.ts'

const absent = '/nowhere/libcuda.so.1'
const stub = buildStub()
const withStub = stub ? test : test.skip

function environment(changes: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

test.before.each(() => {
  environment({ CUDA_DRIVER: absent, QUATTUOR_DEVICE: undefined })
  stub?.reset()
})

test('without a driver the emulator runs, and says why', async () => {
  const said: string[] = []
  const device = await openDevice(undefined, (line) => said.push(line))
  assert.is(device.name, 'emulator')
  assert.is(said.length, 1)
  assert.match(said[0]!, /^quattuor: running on the PTX emulator, because the CUDA driver is not there/)
  await device.close()
})

test('the emulator with checks is a device of its own name, and reports what the plain one forgives', async () => {
  for (const name of ['emulator', 'emulator:checked']) {
    const device = (await openDevice(name)) as EmulatorDevice
    const fn = device.load(vectorAdd('sm_90a'))
    const [x, y, out] = [400, 400, 400].map((bytes) => device.allocate(bytes).address)
    // The tensors have 100 elements, never written, and the kernel reads them all.
    device.prepareLaunch(fn, { grid: [1, 1, 1] }, [x!, y!, 1, out!, 100]).run()
    const failure = await device.synchronize().then(
      () => undefined,
      (error: Error) => error.message,
    )
    if (name === 'emulator') assert.is(failure, undefined)
    else assert.match(failure!, /^kernel vectorAdd: /)
    await device.close()
  }
})

test('a name that is asked for is opened without a word', async () => {
  const said: string[] = []
  const device = await openDevice('emulator', (line) => said.push(line))
  assert.is(device.name, 'emulator')
  assert.equal(said, [])
  await device.close()
})

test('unknown names list what exists', async () => {
  const refused = async (name: string, message: string) => {
    await openDevice(name).then(
      () => assert.unreachable(),
      (error: Error) => {
        assert.is(error.name, 'UnknownDeviceError')
        assert.is(error.message, message)
      },
    )
  }
  await refused(
    'emulater',
    `there is no device 'emulater'; did you mean 'emulator'? This machine has emulator`,
  )
  await refused('gpu', `there is no device 'gpu'. This machine has emulator`)
  await refused('cuda:x', `there is no device 'cuda:x'. This machine has emulator`)
})

test('asking for a GPU without a driver fails instead of falling back', async () => {
  await openDevice('cuda:0').then(
    () => assert.unreachable(),
    (error: Error) =>
      assert.match(
        error.message,
        /the CUDA driver is not there: .*; install .* or take the device 'emulator'/,
      ),
  )
})

test('the report of a machine without a driver has the reason', async () => {
  const report = await describeDevices()
  assert.is(report.driver.library, absent)
  assert.is(report.driver.version, null)
  assert.match(report.driver.problem!, /the CUDA driver is not there/)
  assert.equal(report.gpus, [])
  assert.is(report.choice.name, 'emulator')
})

withStub('with a driver the first supported GPU runs, and QUATTUOR_DEVICE decides otherwise', async () => {
  environment({ CUDA_DRIVER: stub!.library })
  stub!.devices(2, 80)
  const said: string[] = []
  const device = await openDevice(undefined, (line) => said.push(line))
  assert.is(device.name, 'cuda:0')
  assert.is(device.target.name, 'sm_80')
  assert.equal(said, [])
  await device.close()
  environment({ QUATTUOR_DEVICE: 'cuda:1' })
  const second = await openDevice()
  assert.is(second.name, 'cuda:1')
  await second.close()
  environment({ QUATTUOR_DEVICE: 'emulator' })
  const emulator = await openDevice()
  assert.is(emulator.name, 'emulator')
  await emulator.close()
  assert.equal((await describeDevices()).choice, {
    name: 'emulator',
    reason: 'QUATTUOR_DEVICE is emulator',
  })
})

withStub('the report lists GPUs with memory, capability and target', async () => {
  environment({ CUDA_DRIVER: stub!.library })
  stub!.devices(2, 89)
  const report = await describeDevices()
  assert.equal(report.driver, { library: stub!.library, version: '13.1', problem: null })
  assert.equal(
    report.gpus.map(({ name, capability, target, memoryBytes }) => [
      name,
      capability,
      target?.name,
      memoryBytes,
    ]),
    [
      ['cuda:0', '8.9', 'sm_89', 5 * 2 ** 30],
      ['cuda:1', '8.9', 'sm_89', 5 * 2 ** 30],
    ],
  )
  assert.is(report.choice.name, 'cuda:0')
  assert.is(stub!.live(), 0, 'no context is made')
})

withStub(
  'a GPU that is too old, no GPU, and a driver that does not start each give their reason',
  async () => {
    environment({ CUDA_DRIVER: stub!.library })
    stub!.devices(1, 70)
    assert.match(
      (await describeDevices()).choice.reason,
      /no GPU is supported: cuda:0 \(Stub GPU 0\) has compute capability 7\.0/,
    )
    stub!.devices(0, 90)
    assert.is((await describeDevices()).choice.reason, 'the driver sees no GPU')
    stub!.fail('cuInit', 100)
    const { choice } = await describeDevices()
    assert.is(choice.name, 'emulator')
    assert.match(
      choice.reason,
      /no CUDA-capable device is detected \(CUDA_ERROR_NO_DEVICE\); check that nvidia-smi lists a GPU/,
    )
  },
)

test('importing the runtime loads no TypeScript compiler, and no driver binding before a GPU is looked for', () => {
  const built = import.meta.url.endsWith('.js')
  const suffix = built ? 'js' : 'ts'
  const runtime = fileURLToPath(new URL('../../runtime', import.meta.url))
  const files = ['open-device', 'kernel', 'tensor', 'program-cache', 'cuda/device', 'emulator/device']
  const program = `
    import { createRequire, register } from 'node:module'
    import { pathToFileURL } from 'node:url'
    import { MessageChannel } from 'node:worker_threads'
    const { port1, port2 } = new MessageChannel()
    const hook = \`
      let port
      export const initialize = (data) => { port = data.port }
      export async function resolve(specifier, context, next) {
        const result = await next(specifier, context)
        port.postMessage(result.url)
        return result
      }\`
    register('data:text/javascript,' + encodeURIComponent(hook), {
      data: { port: port2 }, transferList: [port2],
    })
    const urls = []
    port1.on('message', (url) => urls.push(url))
    port1.unref()
    const load = async (names) => {
      for (const name of names) await import(pathToFileURL('${runtime}/' + name + '.${suffix}').href)
      await new Promise((resolve) => setTimeout(resolve, 50))
      const required = Object.keys(createRequire(import.meta.url).cache)
      return [...urls, ...required].map((url) => url.split('/node_modules/').slice(1).pop()).filter(Boolean)
    }
    const early = await load(${JSON.stringify(files.slice(0, 4))})
    const all = await load(${JSON.stringify(files)})
    console.log(JSON.stringify({ early, all, count: urls.length }))
  `
  const child = spawnSync(
    process.execPath,
    [...(built ? [] : ['--import', 'tsx']), '--input-type=module', '-e', program],
    { encoding: 'utf8' },
  )
  assert.is(child.status, 0, child.stderr)
  const { early, all, count } = JSON.parse(child.stdout) as { early: string[]; all: string[]; count: number }
  assert.ok(count > files.length, 'the hook saw the imports')
  const compilers = (paths: string[]) =>
    paths.filter((path) => /^(ts-morph|@ts-morph|typescript)\//.test(path))
  assert.equal(compilers(all), [])
  assert.equal(
    early.filter((path) => path.startsWith('koffi/')),
    [],
  )
  assert.ok(
    all.some((path) => path.startsWith('koffi/')),
    'the hook sees what the CUDA device imports',
  )
})

test.run()
