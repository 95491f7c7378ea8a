import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { countInstructions } from '../../cli/ptx-statistics.ts'
import { targets } from '../../codegen/target.ts'
import { builtinKernels } from '../../kernels/builtin.ts'
import { assemble, hasPtxas } from '../support/ptxas.ts'
import { assertRefused, finished, runCli, spawnCli, temporaryFolder } from '../support/run-cli.ts'

const examples = resolve(dirname(fileURLToPath(import.meta.url)), '../../examples')
const vectorAdd = join(examples, '1-vector-add.ts')
const rmsNorm = join(examples, '2-rmsnorm.ts')
const gemm = fileURLToPath(new URL('../../kernels/gemm/w4a8.ts', import.meta.url))

/** A kernel file outside the package, with a tuning space. */
const scaled = `
import { blockIdx, type f32, type In, kernel, type Out, openDevice, space, threadIdx } from 'quattuor'
import { twice } from './helper.js'

interface Config { readonly block: number; readonly times: 'once' | 'twice' }

export const scale = kernel(
  import.meta.url,
  {
    grid: (d) => [d.N!],
    block: (c: Config) => [twice(c.block / 2)],
    tune: space({ block: [64, 128], times: ['once', 'twice'] }).where('why', (c) => c.block > 64 || c.times === 'once'),
  },
  function scale(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }, c: Config) {
    const i = blockIdx.x * c.block + threadIdx.x
    if (i < a.out.dim('N')) a.out.put(a.x.at(i) * (c.times === 'twice' ? 2 : 1), i)
  },
)

const device = await openDevice('no device of this name')
throw new Error(device.name)
`
const folder = temporaryFolder()
const scaleFile = join(folder, 'scale.ts')
writeFileSync(scaleFile, scaled)
writeFileSync(join(folder, 'helper.ts'), 'export const twice = (n: number): number => 2 * n\n')

test('one kernel goes to standard output as PTX, and the rest of its file does not run', async () => {
  const { code, out, err } = await runCli('compile', vectorAdd, '--target', 'sm_90a', '--emit', 'ptx')
  assert.equal([code, err], [0, ''])
  assert.match(out, /^\.version \d\.\d\n\.target sm_90a\n/)
  assert.match(out, '.visible .entry add(')
  assemble(out, 'sm_90a')
})

test('a configuration is JSON, and the IR can be seen', async () => {
  const { code, out, err } = await runCli(
    'compile',
    rmsNorm,
    '--config',
    '{"H": 512}',
    '--emit',
    'ir',
    '-t',
    'sm_80',
  )
  assert.equal([code, err], [0, ''])
  assert.match(out, /^kernel rmsNorm\(.*\) block 128x1x1 \{\n/)
})

test('--out writes a file for each configuration of the tuning space, named after it', async () => {
  const out = join(temporaryFolder(), 'a', 'b')
  const run = await runCli('compile', scaleFile, '--target', 'sm_80', '--emit', 'ptx', '--out', out)
  assert.equal([run.code, run.err], [0, ''])
  const files = readdirSync(out).sort()
  assert.is(files.length, 3)
  const patterns = [
    /^scale-block128-once-\w{6}\.ptx$/,
    /^scale-block128-twice-\w{6}\.ptx$/,
    /^scale-block64-once-\w{6}\.ptx$/,
  ]
  for (const [i, pattern] of patterns.entries()) assert.match(files[i]!, pattern)
  assert.equal(
    run.out.trim().split('\n').sort(),
    files.map((file) => join(out, file)),
  )
  for (const file of files) {
    const text = readFileSync(join(out, file), 'utf8')
    assert.match(text, file.includes('128') ? '.reqntid 128, 1, 1' : '.reqntid 64, 1, 1')
    assemble(text, 'sm_80')
  }
})

test('the same configuration has the same file name, whatever the order of its constants', async () => {
  const name = async (config: string) =>
    JSON.parse((await runCli('compile', scaleFile, '-t', 'sm_80', '--json', '--config', config)).out)
      .kernels[0].name
  const first = await name('{"block": 32, "times": "once"}')
  assert.is((await name('{"times": "once", "block": 32}')).slice(-6), first.slice(-6))
  assert.is.not((await name('{"block": 32, "times": "twice"}')).slice(-6), first.slice(-6))
})

test('--json is one object, which says how to launch each kernel', async () => {
  const { code, out } = await runCli('compile', vectorAdd, scaleFile, '-t', 'sm_86', '--json')
  assert.is(code, 0)
  const { target, kernels } = JSON.parse(out)
  assert.is(target, 'sm_86')
  assert.equal(
    kernels.map((k: { kernel: string }) => k.kernel),
    ['add', 'scale', 'scale', 'scale'],
  )
  assert.equal(kernels[0].block, [256, 1, 1])
  assert.equal(
    kernels[0].params.map((p: { kind: string; name: string }) => `${p.kind} ${p.name}`),
    ['tensor x', 'tensor y', 'tensor out', 'dim N'],
  )
  assert.match(kernels[1].ptx, '.entry scale')
})

test('the table of statistics counts instructions by class, and asks ptxas for registers where it is', async () => {
  const { out } = await runCli(
    'compile',
    rmsNorm,
    '--config',
    '{"H": 512}',
    '--emit',
    'stats',
    '-t',
    'sm_90a',
  )
  const [head, row, rest] = out.trim().split('\n')
  assert.match(head!, /^kernel +params +threads +shared B +mma +float +integer/)
  assert.match(row!, /^rmsNorm-H512-\w{6} +5 +128 /)
  if (hasPtxas) assert.match(head!, /registers +spill B$/)
  else assert.match(rest!, 'put ptxas on the path')
  const json = await runCli('compile', rmsNorm, '-c', '{"H": 512}', '-e', 'stats', '-t', 'sm_90a', '--json')
  const { instructions, registers } = JSON.parse(json.out).kernels[0]
  assert.ok(instructions.float > 10 && instructions.mma === 0 && instructions.sync > 0)
  if (hasPtxas) assert.ok(registers > 8 && registers <= 255)
})

test('every instruction falls into one class, and directives and labels into none', () => {
  const counts = countInstructions(`
.version 8.0
.visible .entry k( .param .u64 p )
{
  .reg .b32 %r<5>;
  .loc 1 23 3
  ld.param.u64 %rd1, [p];
  mad.lo.s32 %r4, %r2, 256, %r3;
  @!%p1 bra $end1;
  @%p1 ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd4];
  cp.async.cg.shared.global [%r1], [%rd2], 16;
  cp.async.wait_group 1;
  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r5];
  mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%r1}, {%r2}, {%r3}, {%r4};
  fma.rn.f16x2 %r1, %r2, %r3, %r4;
  cvt.rn.f32.s32 %f1, %r1;
  bar.sync 0;
  st.shared.f32 [%r1], %f1;
$end1:
  ret;
}
.file 1 "/a: b.ts"`)
  assert.equal(counts, {
    mma: 1,
    float: 1,
    integer: 1,
    move: 2,
    global: 2,
    shared: 2,
    local: 0,
    sync: 2,
    control: 2,
  })
})

test('--all compiles every kernel that the package has', async () => {
  const out = temporaryFolder()
  const run = await runCli('compile', '--all', '--target', 'sm_89', '--emit', 'ptx', '--out', out)
  assert.equal([run.code, run.err], [0, ''])
  assert.is(readdirSync(out).length, builtinKernels(targets.sm_89).length)
})

test('what cannot be compiled is refused in one sentence', async () => {
  const text = join(folder, 'notes.txt')
  writeFileSync(text, 'x')
  const empty = join(folder, 'empty.ts')
  writeFileSync(empty, 'export const x: number = 3\n')
  const broken = join(folder, 'broken.ts')
  writeFileSync(broken, 'throw new Error()\nexport const x = kernel(\n')
  const unnamed = join(folder, 'unnamed.ts')
  writeFileSync(
    unnamed,
    "import { kernel } from 'quattuor'\nexport const x = kernel(import.meta.url, { grid: () => [1], block: [1] }, () => {})\n",
  )
  for (const [args, ...words] of [
    [[], 'nothing to compile', '--all'],
    [[unnamed], 'unnamed.ts cannot be loaded: A kernel needs a named function'],
    [['nowhere.ts'], 'nowhere.ts does not exist'],
    [[gemm, '--kernel', 'gemmW4A8'], "kernel gemmW4A8 needs the constants path: 'mma', tileM: number"],
    [[gemm, '--config', '{"path": "wgmma"}'], 'needs the constants tokens: number'],
    [[text], 'notes.txt is not a TypeScript file'],
    [[folder], 'is not a TypeScript file'],
    [[empty], 'empty.ts exports no kernel', 'export const name = kernel('],
    [[rmsNorm], 'kernel rmsNorm needs the constant H: number; give it as --config \'{"H": …}\''],
    [[rmsNorm, '-c', '{"h": 4}'], "did you mean 'H' by 'h'?"],
    [[rmsNorm, '-c', '{H: 4}'], '--config {H: 4} is not JSON'],
    [[rmsNorm, '-c', '[4]'], '--config [4] is not a JSON object'],
    [[vectorAdd, '-t', 'sm_90'], "no target 'sm_90'; did you mean 'sm_90a'?"],
    [[vectorAdd, '-k', 'ad'], "no kernel 'ad'; did you mean 'add'?"],
    [[scaleFile], '3 kernels and configurations', '--out'],
    [[vectorAdd, '-e', 'stats', '-o', folder], '--emit stats prints a table'],
    [[vectorAdd, '--out', text], 'notes.txt'],
  ] as [string[], ...string[]][])
    assertRefused(await runCli('compile', ...args), ...words)
})

test('two kernels of one name cannot share a folder', async () => {
  const other = join(temporaryFolder(), 'scale.ts')
  mkdirSync(dirname(other), { recursive: true })
  writeFileSync(other, scaled.replace('./helper.js', join(folder, 'helper.ts')))
  assertRefused(await runCli('compile', scaleFile, other, '--out', folder), 'both have a kernel scale')
})

test('an error in a kernel is shown in its line, and nothing is written', async () => {
  const file = join(temporaryFolder(), 'wrong.ts')
  writeFileSync(
    file,
    scaled.replace('a.x.at(i) *', 'a.x.at(i / 2) *').replace('./helper.js', join(folder, 'helper.ts')),
  )
  const out = join(temporaryFolder(), 'out')
  const run = await runCli('compile', file, '--out', out)
  assert.equal([run.code, run.out], [2, ''])
  assert.match(run.err, /^E\d{4} {2}.*wrong\.ts:\d+:\d+\n/)
  assert.match(run.err, /\n +\d+ │ .*a\.x\.at\(i \/ 2\)/)
  assert.match(run.err, /\n +│ +\^+/)
  assert.not.match(run.err, /\n\s+at /)
  assert.throws(() => readdirSync(out), 'ENOENT')
})

test('the process: PTX alone on standard output, and a reader that leaves early is no error', async () => {
  const whole = await finished(spawnCli(['compile', vectorAdd, '-t', 'sm_90a']))
  assert.equal([whole.ended, whole.err], [0, ''])
  assert.match(whole.out, /^\.version/)
  const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
  // `true` reads nothing and is gone before anything is written.
  const command = `"${process.execPath}" --import tsx "${main}" compile "${vectorAdd}" -t sm_90a | true; exit \${PIPESTATUS[0]}`
  const piped = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.equal([piped.status, piped.stderr], [0, ''])
})

test.run()
