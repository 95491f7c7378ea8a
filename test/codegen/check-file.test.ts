import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkFile } from '../../codegen/compile.ts'
import { listKernels } from '../support/list-kernels.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Checks a text as a file of a project of its own. */
function checkText(text: string) {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-check-'))
  try {
    const path = join(folder, 'kernel.ts')
    writeFileSync(path, text)
    return { errors: checkFile(path), kernels: () => listKernels(path) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a kernel file without errors has none', () => {
  assert.equal(checkFile(join(root, 'kernels/rms-norm.ts')), [])
})

test('type errors are E0010 with the range and the number of TypeScript', () => {
  const { errors } = checkText(`import { kernel, type f32, type In, rsqrt, threadIdx } from 'quattuor/dsl'
export const k = kernel(import.meta.url, { grid: () => [1], block: [32] }, function k(a: { x: In<f32, 'N'> }) {
  a.x.put(rsqrt(threadIdx.x), a.x.dim('M'))
})
`)
  assert.equal(
    errors.map((e) => [e.code, e.sentence]),
    [
      ['E0010', `Property 'put' does not exist on type 'In<f32, "N", "row">'. (TS2339)`],
      ['E0010', "Argument of type 'i32' is not assignable to parameter of type 'f32'. (TS2345)"],
      ['E0010', `Argument of type '"M"' is not assignable to parameter of type '"N"'. (TS2345)`],
    ],
  )
  assert.match(errors[0]!.render(), /kernel\.ts:3:7/)
})

test('a tensor indexed like an array is told of at and put', () => {
  const { errors } = checkText(`import { kernel, type f32, type In, type Out, threadIdx } from 'quattuor/dsl'
export const k = kernel(import.meta.url, { grid: () => [1], block: [32] }, function k(a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }) {
  a.out[threadIdx.x] = a.x.at(0)
})
`)
  assert.equal(
    errors.map((e) => e.context.help),
    ['elements are read with at(…index) and written with put(value, …index)'],
  )
})

test('a file that does not parse gives E0001', () => {
  const { errors } = checkText('const x = (1 +')
  assert.equal(
    errors.map((e) => e.code),
    ['E0001'],
  )
})

test('kernels are listed by syntax, in order', () => {
  assert.equal(listKernels(join(root, 'kernels/silu-mul.ts')), ['siluMul', 'siluMulQuantize'])
})

test.run()
