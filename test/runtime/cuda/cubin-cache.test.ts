import { spawn } from 'node:child_process'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Program } from '../../../codegen/program.ts'
import { CubinCache } from '../../../runtime/cuda/cubin-cache.ts'
import { type CudaDevice, openCuda } from '../../../runtime/cuda/device.ts'
import { DriverError } from '../../../runtime/cuda/errors.ts'
import { FileStore } from '../../../runtime/file-store.ts'
import { rng } from '../../support/rng.ts'
import { vectorAdd, vectorAddPtx } from '../../support/vector-add.ts'
import { buildStub, type Stub } from './stub/stub.ts'

const built = buildStub()
const test = suite('Cubins on the stub driver')
if (!built) test.skip('needs a C compiler', () => {})
const stub = built as Stub
const check: typeof test = (built ? test : test.skip) as typeof test

const root = mkdtempSync(join(tmpdir(), 'quattuor-cubins-'))
process.once('exit', () => rmSync(root, { recursive: true, force: true }))

const random = rng(77)
/** A program that no other test has. */
const fresh = (change: Partial<Program> = {}): Program =>
  vectorAdd('sm_80', { ptx: `${vectorAddPtx('sm_80')}// ${random.integer(0, 2 ** 31)}\n`, ...change })

const devices: CudaDevice[] = []
let count = 0
/** A folder of its own, and what opens a device with a cache over it as another process would. */
function setup() {
  const folder = join(root, String(count++))
  const warnings: string[] = []
  const open = (at = folder) => {
    const cubins = new CubinCache(new FileStore(at, '.cubin', { warn: (message) => warnings.push(message) }))
    const device = openCuda(0, { library: stub.library, cubins })
    devices.push(device)
    const counts = async () => {
      const { compiled, cached } = await cubins.statistics()
      return [compiled, cached]
    }
    return { device, cubins, counts }
  }
  const entries = () => readdirSync(folder).map((name) => join(folder, name))
  return { folder, warnings, open, entries }
}

test.before.each(() => stub?.reset())
test.after.each(async () => {
  for (const device of devices.splice(0)) await device.close()
  if (built) assert.is(stub.live(), 0, 'everything was given back to the driver')
})

async function rejection(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.instance(error, Error)
  return error as Error
}

check(
  'several programs compile at once while the event loop goes on, and a second start compiles none',
  async () => {
    const { open } = setup()
    const programs = Array.from({ length: 6 }, () => fresh({ sharedBytes: 100 }))
    const first = open()
    // A thread takes its time to start on a machine that has other work.
    stub.compile(600)
    let ticks = 0
    const ticking = setInterval(() => ticks++, 1)
    const functions = await first.device.loadAll([...programs, programs[0]!])
    clearInterval(ticking)
    assert.ok(stub.mostCompiling() >= 2, `${stub.mostCompiling()} compiled at once`)
    assert.ok(ticks > 5, `the loop turned ${ticks} times`)
    assert.is(functions[6], functions[0], 'a program is loaded once')
    assert.is(first.device.load(programs[0]!), functions[0])
    assert.equal(await first.counts(), [6, 0])
    const second = open()
    const again = await second.device.loadAll(programs)
    assert.equal(await second.counts(), [0, 6])
    assert.is(stub.called('cuLinkAddData_v2'), 6)
    for (const [i, fn] of again.entries()) {
      assert.equal(fn.resources, { registers: 10, localBytes: 24, sharedBytes: 164 })
      assert.is(fn.log, functions[i]!.log)
      assert.match(fn.log, new RegExp(`${programs[i]!.ptx.length} bytes of text`))
    }
  },
)

check('a stream is waited for while many programs compile', async () => {
  const { device } = setup().open()
  stub.compile(150)
  const programs = Array.from({ length: 9 }, () => fresh())
  let compiled = false
  const loading = device.loadAll(programs).then(() => {
    compiled = true
  })
  await new Promise((resolve) => setTimeout(resolve, 10))
  stub.busy(10)
  await device.synchronize()
  assert.is(compiled, false, 'the stream was waited for before all programs were compiled')
  await loading
})

check('two that ask for one program at once, and one that cannot wait, get one function', async () => {
  const { device, counts } = setup().open()
  const program = fresh()
  stub.compile(20)
  const [a, b] = [device.loadAll([program]), device.loadAll([program])]
  const now = device.load(program)
  assert.equal([(await a)[0], (await b)[0]], [now, now])
  assert.equal(await counts(), [1, 0])
})

check('another text, architecture or driver is another cubin', async () => {
  const { cubins, counts } = setup().open()
  const program = fresh()
  const target = { target: 'sm_90a', capability: '9.0', driver: '13.0' }
  const image = Uint8Array.of(1, 10, 2)
  await cubins.write(program, target, { image, log: 'notes\nof two lines' })
  const found = await cubins.read(program, target)
  assert.equal(Buffer.from(found!.image), Buffer.from(image))
  assert.is(found!.log, 'notes\nof two lines')
  for (const other of [{ target: 'sm_80' }, { capability: '9.1' }, { driver: '13.1' }])
    assert.is(await cubins.read(program, { ...target, ...other }), undefined)
  assert.is(await cubins.read({ ...program, ptx: `${program.ptx} ` }, target), undefined)
  assert.equal(await counts(), [4, 1])
})

check(
  'a file cut short, altered, replaced or put under another name is compiled again and mended',
  async () => {
    const { open, entries } = setup()
    const program = fresh()
    await open().device.loadAll([program])
    const [path] = entries() as [string]
    const other = setup()
    await other.open().device.loadAll([fresh()])
    const [foreign] = other.entries() as [string]
    const spoil: (() => void)[] = [
      () => truncateSync(path, readFileSync(path).length - 1),
      () => truncateSync(path, 0),
      () => {
        const file = readFileSync(path)
        file[file.length - 3]! ^= 1
        writeFileSync(path, file)
      },
      () => writeFileSync(path, 'rubbish'),
      () => writeFileSync(path, readFileSync(foreign)),
    ]
    for (const damage of spoil) {
      damage()
      const mending = open()
      await mending.device.loadAll([program])
      assert.equal(await mending.counts(), [1, 0])
      const mended = open()
      await mended.device.loadAll([program])
      assert.equal(await mended.counts(), [0, 1])
    }
  },
)

check('an image that the driver does not take is compiled again and mended', async () => {
  const { open } = setup()
  const program = fresh()
  const { device, cubins } = open()
  const { capability } = device.properties as typeof device.properties & { capability: string }
  const target = { target: device.target.name, capability, driver: device.properties.driver }
  await cubins.write(program, target, { image: Buffer.from('\x7fELF of another'), log: '' })
  const [fn] = await device.loadAll([program])
  assert.match(fn!.log, /10 registers/)
  const mended = open()
  await mended.device.loadAll([program])
  assert.equal(await mended.counts(), [0, 1])
})

check('a folder that cannot be written is told once and costs the cache alone', async () => {
  const { open, folder, warnings } = setup()
  writeFileSync(folder, 'a file, where a folder should be')
  const { device, cubins } = open(join(folder, 'cubins'))
  const functions = await device.loadAll([fresh(), fresh()])
  assert.is(functions.length, 2)
  await device.loadAll([fresh()])
  assert.is(warnings.length, 1)
  assert.match(warnings[0]!, /compiled kernels are not kept, because .* cannot be written/)
  assert.match((await cubins.statistics()).store!.problem!, /ENOTDIR/)
})

check('a folder that is only readable still gives its cubins', async () => {
  const { open, folder } = setup()
  const program = fresh()
  await open().device.loadAll([program])
  chmodSync(folder, 0o555)
  const { device, counts } = open()
  await device.loadAll([program])
  chmodSync(folder, 0o755)
  assert.equal(await counts(), [0, 1])
})

check(
  'a refused program shows the log and the TypeScript line, is not kept, and spares the others',
  async () => {
    const { open, entries } = setup()
    const good = fresh()
    const ptx = vectorAddPtx('sm_80', 'bogus.f32 %f3, %f3;')
    const line = ptx.split('\n').findIndex((text) => text.includes('bogus')) + 1
    const log = `ptxas application ptx input, line ${line}; error   : Not a name of any known instruction: 'bogus'`
    const { device } = open()
    await device.loadAll([good])
    stub.jitLog(log)
    const error = (await rejection(device.loadAll([vectorAdd('sm_80', { ptx })]))) as DriverError
    assert.instance(error, DriverError)
    assert.is(error.code, 'CUDA_ERROR_INVALID_PTX')
    assert.is(error.location, '/kernels/vector-add.ts:12')
    assert.is(error.log, log)
    assert.is(entries().length, 1)
    assert.ok(device.load(good).handle)
  },
)

check(
  'a program whose products of warpgroups would wait for each other is refused, from the cache as well',
  async () => {
    const { open } = setup()
    const ptx = vectorAddPtx('sm_80', '// wgmma.mma_async')
    stub.jitLog(
      'ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized',
    )
    for (const counts of [
      [1, 0],
      [0, 1],
    ]) {
      const other = open()
      const error = await rejection(other.device.loadAll([vectorAdd('sm_80', { ptx })]))
      assert.match(error.message, /kernel vectorAdd .* first is at \/kernels\/vector-add\.ts:12: \(C7510\)/)
      assert.equal(await other.counts(), counts)
    }
  },
)

check('a driver whose linker refuses what its loader takes costs the cache alone', async () => {
  const { device, counts } = setup().open()
  stub.fail('cuLinkCreate_v2', 209)
  const program = fresh()
  const [fn] = await device.loadAll([program])
  assert.match(fn!.log, /10 registers/)
  assert.is(device.load(program), fn)
  assert.equal(await counts(), [1, 0])
})

check('threads that compile have the context that the driver wants there', async () => {
  const { device, counts } = setup().open()
  stub.compile(0, true)
  const functions = await device.loadAll([fresh(), fresh()])
  assert.is(functions.length, 2)
  assert.equal(await counts(), [2, 0])
})

check(
  'a program that moves registers is compiled as a whole, and the log of its first time is kept',
  async () => {
    const { open } = setup()
    const program = fresh({ ptx: vectorAddPtx('sm_80', '// setmaxnreg') })
    for (const counts of [
      [1, 0],
      [0, 1],
    ]) {
      const other = open()
      const [fn] = await other.device.loadAll([program])
      assert.match(fn!.log, /10 registers/)
      assert.equal(await other.counts(), counts)
    }
    assert.is(stub.called('cuLinkAddData_v2'), 0)
  },
)

check('a whole program that the GPU has no room for is unloaded', async () => {
  const { device } = setup().open()
  const program = fresh({ ptx: vectorAddPtx('sm_80', '// setmaxnreg'), sharedBytes: 232_449 })
  const before = stub.live()
  const error = await rejection(device.loadAll([program]))
  assert.match(error.message, /needs 232449 bytes of shared memory a CTA/)
  assert.is(stub.live(), before)
})

check('closing waits for what still compiles', async () => {
  const { device } = setup().open()
  stub.compile(30)
  const loading = device.loadAll([fresh(), fresh()])
  await device.close()
  assert.is((await loading).length, 2)
})

check('processes that start at once each read whole files', async () => {
  const { folder, entries } = setup()
  const inJavaScript = import.meta.url.endsWith('.js')
  const file = `../../support/cubin-loader.${inJavaScript ? 'js' : 'ts'}`
  const script = fileURLToPath(new URL(file, import.meta.url))
  const args = [...(inJavaScript ? [] : ['--import', 'tsx']), script, stub.library, folder]
  const run = () =>
    new Promise<{ compiled: number; cached: number }>((resolve, reject) => {
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      child.on('close', (code) => (code === 0 ? resolve(JSON.parse(output)) : reject(new Error(output))))
    })
  for (const { compiled, cached } of await Promise.all([run(), run(), run()])) assert.is(compiled + cached, 8)
  assert.is(entries().length, 8, 'one file a program, and no temporary ones')
  assert.equal(await run(), { compiled: 0, cached: 8 })
})

test.run()
