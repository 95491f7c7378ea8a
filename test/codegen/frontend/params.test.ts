import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import type { Config } from '../../../codegen/program.ts'
import { kernelAt, withKernelFile } from '../../support/kernel-text.ts'

const text = `import { kernel, threadIdx, type Elem, type f32, type f16, type i8, type i32, type u32, type In, type InOut, type Out } from 'quattuor'

interface Base { readonly x: In<Elem<'dtype'>, 'T H'>; readonly scale: f32 }
type Row<T> = Out<T, 'T H'>
type Words = 'N 64'
interface Args extends Base { out: Row<f32>; bias?: In<f16, 'H'>; packed: In<u32, Words, 'mma-w4'>; limit: i32; seed: u32 }
interface Config { readonly dtype: 'f16' | 'bf16'; readonly H: number; readonly bias: boolean; readonly extra?: number }

export const all = kernel(import.meta.url, { grid: () => [1], block: [32] }, function all(a: Args, c: Config) {
  const i = threadIdx.x
  const more = c.extra ?? 1
  if (c.bias) a.out.put(a.scale * more, a.limit, i)
  else a.out.put(a.scale, i, c.H - 1)
})

export const chosen = kernel(import.meta.url, { grid: () => [1], block: [32] }, function chosen(a: { out: Out<Elem<'out', 'dtype'>, 'N'> }, c: { readonly dtype: 'f16'; readonly out?: 'f32' }) {
  a.out.put(1, threadIdx.x)
})

type Either = ({ readonly path: 'a'; readonly more?: number } | { readonly path: 'b' }) & { readonly extra?: number }
export const either = kernel(import.meta.url, { grid: () => [1], block: [32] }, function either(a: { out: Out<f32, 'N'> }, c: Either) {
  a.out.put(c.more ?? c.extra ?? 1, threadIdx.x)
})

type Both = { x: InOut<i8, 'N'> } & { y: InOut<i32, 'N N2'> }
export const joined = kernel(import.meta.url, { grid: () => [1], block: [32] }, function joined({ x, y }: Both) {
  y.put(x.dim('N') + y.dim('N2'), 0, 0)
})
`

const paramsOf = (name: string, config: Config) =>
  withKernelFile(text, async (url) => compileKernel(kernelAt(url, name, 32), config, 'sm_80').params)

const scalars = [
  { kind: 'scalar', name: 'limit', dtype: 'i32' },
  { kind: 'scalar', name: 'seed', dtype: 'u32' },
]
const packed = {
  kind: 'tensor',
  name: 'packed',
  dtype: 'u32',
  shape: ['N', 64],
  words: ['N', '64'],
  tag: 'mma-w4',
  access: 'in',
  align: 1,
}
const out = {
  kind: 'tensor',
  name: 'out',
  dtype: 'f32',
  words: ['T', 'H'],
  tag: 'row',
  access: 'out',
  align: 4,
}

test('an element type is that of the first constant that is there', async () => {
  const typeOf = async (config: Config) => {
    const [out] = await paramsOf('chosen', config)
    return out?.kind === 'tensor' && out.dtype
  }
  assert.is(await typeOf({ dtype: 'f16' }), 'f16')
  assert.is(await typeOf({ dtype: 'f16', out: 'f32' }), 'f32')
})

test('parameters come from aliases, interfaces and their bases; constants bind words, element types and options', async () => {
  assert.equal(await paramsOf('all', { dtype: 'bf16', H: 256, bias: false }), [
    {
      kind: 'tensor',
      name: 'x',
      dtype: 'bf16',
      shape: ['T', 256],
      words: ['T', 'H'],
      tag: 'row',
      access: 'in',
      align: 1,
    },
    { kind: 'scalar', name: 'scale', dtype: 'f32' },
    { ...out, shape: ['T', 256] },
    packed,
    ...scalars,
    { kind: 'dim', name: 'T' },
    { kind: 'dim', name: 'N' },
  ])
})

test('an optional argument exists when the constant of its name is true', async () => {
  const params = await paramsOf('all', { dtype: 'f16', H: 128, bias: true, extra: 3 })
  assert.equal(
    params.map((p) => p.name),
    ['x', 'scale', 'out', 'bias', 'packed', 'limit', 'seed', 'T', 'N'],
  )
})

test('a constant may be optional in one part of a union', async () => {
  assert.is((await paramsOf('either', { path: 'a' })).length, 2)
  assert.is((await paramsOf('either', { path: 'b', more: 3 })).length, 2)
})

test('intersections list the fields of their parts, and every word is one parameter', async () => {
  const params = await paramsOf('joined', {})
  assert.equal(
    params.map((p) => [p.kind, p.name]),
    [
      ['tensor', 'x'],
      ['tensor', 'y'],
      ['dim', 'N'],
      ['dim', 'N2'],
    ],
  )
})

test.run()
