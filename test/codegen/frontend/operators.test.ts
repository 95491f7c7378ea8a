import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { operatorRules } from '../../../codegen/frontend/evaluate/operators.ts'
import type { ScalarType } from '../../../codegen/frontend/evaluate/values.ts'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../../dsl/half.ts'
import type { DType } from '../../../dsl/index.ts'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import type { HostArray } from '../../../runtime/tensor.ts'
import { kernelAt, withKernelFile } from '../../support/kernel-text.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { runKernel } from '../../support/run-kernel.ts'

const THREADS = 96
const device = openEmulator()

/** How a type is stored for the test: pairs as the words that hold them. */
const storage: Partial<Record<ScalarType, DType>> = { f16x2: 'u32', bf16x2: 'u32', bool: 'i32' }

const list = <T>(f: (i: number) => T): T[] => Array.from({ length: THREADS }, (_, i) => f(i))

/** Values with the corners that an operator might get wrong, and random ones. */
function values(type: ScalarType, random: Rng): HostArray {
  const float = (i: number) => [0, -0, 1, -1.5, 0.1, 1e4, -3, 65504][i] ?? random.normal() * 8
  const pair = (bits: (x: number) => number) =>
    Uint32Array.from(list((i) => (bits(float(i)) | (bits(float(i + 1)) << 16)) >>> 0))
  switch (type) {
    case 'f32':
      return Float32Array.from(list(float))
    case 'f16':
      return Uint16Array.from(list((i) => f16Bits(float(i))))
    case 'f16x2':
      return pair(f16Bits)
    case 'bf16x2':
      return pair(bf16Bits)
    case 'u32':
      return Uint32Array.from(
        list((i) => [0, 1, 2 ** 32 - 1, 2 ** 31, 7][i] ?? random.integer(0, 2 ** 32 - 1)),
      )
    case 'bool':
      return Int32Array.from(list(() => random.integer(0, 1)))
    default:
      return Int32Array.from(
        list((i) => [0, 1, -1, -(2 ** 31), 2 ** 31 - 1][i] ?? random.integer(-(2 ** 31), 2 ** 31 - 1)),
      )
  }
}

const float16 = { f16: [f16Value, f16Bits], bf16: [bf16Value, bf16Bits] } as const

/** What an operator gives on two stored values, computed by JavaScript. */
function expected(operator: string, type: ScalarType, a: number, b: number): number {
  if (type === 'f16x2' || type === 'bf16x2') {
    const [value, bits] = float16[type === 'f16x2' ? 'f16' : 'bf16']
    const half = (shift: number) =>
      bits(onFloats(operator, value((a >>> shift) & 0xffff), value((b >>> shift) & 0xffff)))
    return (half(0) | (half(16) << 16)) >>> 0
  }
  if (type === 'f16') {
    const result = onFloats(operator, f16Value(a), f16Value(b))
    return '+-*'.includes(operator) ? f16Bits(result) : result
  }
  if (type === 'f32') return Math.fround(onFloats(operator, a, b))
  return onIntegers(operator, type === 'u32', a, b)
}

function onFloats(operator: string, a: number, b: number): number {
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
      return a / b
    default:
      return compared(operator, a, b)
  }
}

function compared(operator: string, a: number, b: number): number {
  switch (operator) {
    case '<':
      return Number(a < b)
    case '<=':
      return Number(a <= b)
    case '>':
      return Number(a > b)
    case '>=':
      return Number(a >= b)
    case '===':
      return Number(a === b)
    default:
      return Number(a !== b)
  }
}

function onIntegers(operator: string, unsigned: boolean, a: number, b: number): number {
  const wrap = (x: number) => (unsigned ? x >>> 0 : x | 0)
  switch (operator) {
    case '+':
      return wrap(a + b)
    case '-':
      return wrap(a - b)
    case '*':
      return wrap(Math.imul(a, b))
    case '%':
      return wrap(a % b)
    case '&':
      return wrap(a & b)
    case '|':
      return wrap(a | b)
    case '^':
      return wrap(a ^ b)
    case '<<':
      return wrap(a << b)
    case '>>':
      return wrap(a >> b)
    case '>>>':
      return wrap(a >>> b)
    default:
      return compared(operator, a, b)
  }
}

interface Case {
  readonly operator: string
  readonly type: ScalarType
  readonly name: string
}

const cases: Case[] = Object.entries(operatorRules).flatMap(([operator, rule]) =>
  rule.types.map((type, i) => ({
    operator,
    type,
    name: `op${Object.keys(operatorRules).indexOf(operator)}_${i}`,
  })),
)

const isComparison = (operator: string) => operatorRules[operator]!.op === 'compare'

function kernelText({ operator, type, name }: Case): string {
  const stored = storage[type] ?? type
  const read = (tensor: string) => {
    const value = `a.${tensor}.at(threadIdx.x)`
    return type === 'bool' ? `${value} !== 0` : stored === type ? value : `${type}.bits(${value})`
  }
  const result = isComparison(operator) ? 'i32(x OP y)' : stored === type ? 'x OP y' : 'u32.bits(x OP y)'
  const out = isComparison(operator) ? 'i32' : stored
  return `
export const ${name} = kernel(import.meta.url, { grid: () => [1], block: [${THREADS}] }, function ${name}(
  a: { x: In<${stored}, 'N'>; y: In<${stored}, 'N'>; out: Out<${out}, 'N'> },
) {
  const x = ${read('x')}
  const y = ${read('y')}
  a.out.put(${result.replace('OP', operator)}, threadIdx.x)
})`
}

const text = `import { kernel, threadIdx, f16x2, bf16x2, u32, i32, type f32, type f16, type In, type Out } from 'quattuor'
${cases.map(kernelText).join('\n')}
`

test('every operator gives on every type of the table what JavaScript gives, rounded to the type', async () => {
  await withKernelFile(text, async (url) => {
    const random = rng(3)
    for (const each of cases) {
      const { operator, type, name } = each
      const x = values(type, random)
      const y = values(type, random)
      const shifts = operatorRules[operator]!.op.startsWith('sh')
      for (let i = 0; shifts && i < THREADS; i++) y[i] = random.integer(0, 31)
      // Rotated, so that the corners of one side meet values of the other.
      y.set(y.slice().map((_, i, all) => all[(i * 5 + 2) % THREADS]!) as never)
      for (let i = 0; operator === '%' && i < THREADS; i++) y[i] ||= 3
      const dtype = storage[type] ?? (type as DType)
      const out = isComparison(operator) ? 'i32' : dtype
      const result = await runKernel(
        device,
        kernelAt(url, name, THREADS),
        {},
        {
          x: { dtype, shape: [THREADS], data: x },
          y: { dtype, shape: [THREADS], data: y },
          out: { dtype: out, shape: [THREADS] },
        },
      )
      const wanted = list((i) => expected(operator, type, x[i]!, y[i]!))
      const got = Array.from(result.out as ArrayLike<number>)
      for (let i = 0; i < THREADS; i++) {
        const same = Object.is(got[i], wanted[i]) || got[i] === wanted[i]
        assert.ok(same, `${type}: ${x[i]} ${operator} ${y[i]} is ${got[i]}, expected ${wanted[i]}`)
      }
    }
  })
})

test.run()
