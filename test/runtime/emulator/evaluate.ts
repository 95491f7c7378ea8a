import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rng } from '../../support/rng.ts'
import { type Data, kernelText, moduleText, run } from './support.ts'

/** How an operand is stored in memory and given to the reference: 64-bit ones as `bigint`, others as `number`. */
export type Kind =
  | 'u8'
  | 's8'
  | 'u16'
  | 's16'
  | 'u32'
  | 's32'
  | 'u64'
  | 's64'
  | 'f32'
  | 'f64'
  | 'half'
  | 'pair'
  | 'pred'
type Value = number | bigint

export interface Case {
  /** Instructions that compute %d from %a, %b, %c; `%p1`, `%r1` to `%r4`, `%h1` to `%h4`, `%w1`, `%f1` are free. */
  readonly text: string
  readonly inputs: readonly Kind[]
  readonly output: Kind
  // biome-ignore lint/suspicious/noExplicitAny: the kinds of a case say whether it is number or bigint
  readonly reference: (a: any, b: any, c: any) => Value | boolean
  /** Largest relative error, where results are not exact. */
  readonly relative?: number
  /** Replaces the random operands, which are mixed with special values otherwise. */
  readonly operands?: readonly (readonly Value[])[]
}

const registerOf: Readonly<Record<Kind, string>> = {
  u8: 'b16',
  s8: 'b16',
  u16: 'b16',
  s16: 'b16',
  half: 'b16',
  u32: 'b32',
  s32: 'b32',
  pair: 'b32',
  pred: 'pred',
  f32: 'f32',
  u64: 'b64',
  s64: 'b64',
  f64: 'f64',
}
const bytesOf = (kind: Kind): number =>
  /64/.test(kind) ? 8 : ['u16', 's16', 'half'].includes(kind) ? 2 : /8$/.test(kind) ? 1 : 4
const memoryType = (kind: Kind): string =>
  kind === 'f32' || kind === 'f64' || /8$/.test(kind) ? kind : `b${8 * bytesOf(kind)}`

function kernelOf(name: string, { text, inputs, output }: Case): string {
  const names = ['%a', '%b', '%c']
  const loads = inputs.map((kind, i) => {
    const address = `ld.param.u64 %rd1, [p${i}]; mad.wide.u32 %rd1, %t, ${bytesOf(kind)}, %rd1;`
    if (kind === 'pred')
      return `.reg .pred ${names[i]}; ${address} ld.global.u32 %t1, [%rd1]; setp.ne.u32 ${names[i]}, %t1, 0;`
    return `.reg .${registerOf[kind]} ${names[i]}; ${address} ld.global.${memoryType(kind)} ${names[i]}, [%rd1];`
  })
  const out = inputs.length
  const store =
    output === 'pred'
      ? 'selp.u32 %t1, 1, 0, %d; st.global.u32 [%rd1], %t1;'
      : `st.global.${memoryType(output)} [%rd1], %d;`
  return kernelText(
    name,
    [...inputs.map(() => 'u64' as const), 'u64'],
    [64, 1, 1],
    `.reg .b32 %t, %t1, %r<5>; .reg .b16 %h<5>; .reg .b64 %rd1, %w<5>; .reg .pred %p<5>; .reg .f32 %f<5>;
    .reg .${registerOf[output]} %d;
    mov.u32 %t, %tid.x; mov.u32 %t1, %ctaid.x; mad.lo.u32 %t, %t1, 64, %t;
    ${loads.join('\n')}
    ${text}
    ld.param.u64 %rd1, [p${out}]; mad.wide.u32 %rd1, %t, ${bytesOf(output)}, %rd1;
    ${store}`,
  )
}

const specialIntegers = [
  0n,
  1n,
  2n,
  31n,
  32n,
  33n,
  63n,
  64n,
  127n,
  128n,
  255n,
  256n,
  0x7fffn,
  0x8000n,
  0xffffn,
]
const specialFloats = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  Number.NaN,
  Infinity,
  -Infinity,
  1e-40,
  -1e-40,
  3e38,
  2147483648,
  -2147483649,
  255.5,
  65519.9,
  65520,
]

function operandsOf(kind: Kind, count: number, seed: number): Value[] {
  const random = rng(seed)
  const word = (): number => random.integer(0, 0xffff) * 65536 + random.integer(0, 0xffff)
  const bits = 8 * bytesOf(kind)
  return Array.from({ length: count }, (_, i): Value => {
    if (kind === 'pred') return random.integer(0, 1)
    if (kind === 'f32' || kind === 'f64') {
      const round = kind === 'f32' ? Math.fround : (x: number): number => x
      if (i % 4 === 0) return round(specialFloats[random.integer(0, specialFloats.length - 1)]!)
      return round(random.normal() * 2 ** random.integer(-3, i % 3 === 0 ? 30 : 4))
    }
    let value = (BigInt(word()) << 32n) | BigInt(word())
    if (i % 3 === 0) value = specialIntegers[random.integer(0, specialIntegers.length - 1)]!
    if (i % 7 === 0) value = -value
    if (i % 11 === 0) value = 1n << BigInt(bits - 1)
    const asType = kind.startsWith('s') ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)
    return bits === 64 ? asType : Number(asType)
  })
}

function encode(kind: Kind, values: readonly Value[]): Data {
  const bytes = new Uint8Array(values.length * bytesOf(kind))
  const view = new DataView(bytes.buffer)
  values.forEach((value, i) => {
    const at = i * bytesOf(kind)
    if (kind === 'f32') view.setFloat32(at, Number(value), true)
    else if (kind === 'f64') view.setFloat64(at, Number(value), true)
    else if (typeof value === 'bigint') view.setBigUint64(at, BigInt.asUintN(64, value), true)
    else if (bytesOf(kind) === 4) view.setUint32(at, value, true)
    else if (bytesOf(kind) === 2) view.setUint16(at, value, true)
    else view.setUint8(at, value)
  })
  return bytes
}

function decode(kind: Kind, data: Data): Value[] {
  const view = new DataView(data.buffer)
  return Array.from({ length: data.byteLength / bytesOf(kind) }, (_, i): Value => {
    const at = i * bytesOf(kind)
    switch (kind) {
      case 'f32':
        return view.getFloat32(at, true)
      case 'f64':
        return view.getFloat64(at, true)
      case 'u64':
        return view.getBigUint64(at, true)
      case 's64':
        return view.getBigInt64(at, true)
      case 's32':
        return view.getInt32(at, true)
      case 's16':
        return view.getInt16(at, true)
      case 's8':
        return view.getInt8(at)
      case 'u8':
        return view.getUint8(at)
      case 'u16':
      case 'half':
        return view.getUint16(at, true)
      default:
        return view.getUint32(at, true)
    }
  })
}

function normalize(kind: Kind, value: Value | boolean): Value {
  if (typeof value === 'boolean') return Number(value)
  const bits = 8 * bytesOf(kind)
  if (kind === 'f32') return Math.fround(Number(value))
  if (kind === 'f64') return value
  const whole = BigInt(value)
  const wrapped = kind.startsWith('s') ? BigInt.asIntN(bits, whole) : BigInt.asUintN(bits, whole)
  return bits === 64 ? wrapped : Number(wrapped)
}

const isClose = (actual: Value, expected: Value, relative: number): boolean => {
  if (Object.is(actual, expected)) return true
  if (typeof actual === 'bigint' || typeof expected === 'bigint') return false
  return Math.abs(actual - expected) <= relative * Math.abs(expected)
}

/** One test per case: the emulator against the reference, on random and special operands. */
export function testInstructions(cases: readonly Case[]): void {
  const count = 512
  const text = moduleText(cases.map((c, i) => kernelOf(`k${i}`, c)))
  cases.forEach((c, index) => {
    test(c.text, async () => {
      const inputs = c.inputs.map((kind, i) => {
        const given = c.operands?.[i]
        return given
          ? Array.from({ length: count }, (_, j) => given[j % given.length]!)
          : operandsOf(kind, count, 1000 * index + i)
      })
      const result: Data = new Uint8Array(count * bytesOf(c.output))
      const args = [...c.inputs.map((kind, i) => encode(kind, inputs[i]!)), result]
      await run({ name: `k${index}`, ptx: text, block: [64, 1, 1] }, [count / 64, 1, 1], args)
      decode(c.output, result).forEach((actual, i) => {
        const operands = inputs.map((values) => values[i]!)
        const [x, y, z] = operands
        const expected = normalize(c.output, c.reference(x, y, z))
        if (!isClose(actual, expected, c.relative ?? 0))
          assert.unreachable(`of ${operands.join(', ')}: ${actual} where ${expected} is right`)
      })
    })
  })
}
