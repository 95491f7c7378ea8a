import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openEmulator } from '../../../runtime/emulator/device.ts'
import { kernelAt, withKernelFile } from '../../support/kernel-text.ts'
import { runKernel } from '../../support/run-kernel.ts'

const device = openEmulator()

/** Static code that must mean what it means in JavaScript: each entry's last expression is a number. */
const programs: Record<string, string> = {
  arithmetic:
    'return 7 / 2 + 2 ** 10 - (7 % 4) * (1 << 5) + (-9 >> 1) + (-9 >>> 28) + (5 & 3) + (5 | 8) + (6 ^ 3) + ~4',
  comparison:
    "return (3 < 4 ? 1 : 0) + (3 !== 3 ? 10 : 20) + ('a' === 'a' ? 100 : 0) + (null ?? 7) + (0 || 4) + (1 && 6)",
  destructuring: `const [first, , third = 9, ...rest] = [1, 2, undefined, 4, 5]
    const { a, b: { c = 3 }, ...others } = { a: 10, b: {}, x: 1, y: 2 }
    return first + third + rest.length * 100 + a + c + Object.keys(others).length * 1000`,
  spread: 'const o = { a: 1, ...{ b: 2, a: 5 } }; return [...[1, 2], 3, ...[4]].length * 10 + o.a + o.b',
  map: 'return [1, 2, 3].map((x, i) => x * i).reduce((s, x) => s + x)',
  filter: 'return [5, 6, 7, 8].filter((x) => x % 2 === 0).reduce((s, x) => s * 10 + x, 0)',
  search:
    'const a = [3, 1, 4, 1]; return a.indexOf(1) + a.findIndex((x) => x > 3) * 10 + (a.includes(4) ? 100 : 0) + (a.every((x) => x > 0) ? 1000 : 0) + (a.some((x) => x > 9) ? 1 : 0) + (a.find((x) => x > 2) ?? 0)',
  slices: 'return [1, 2, 3, 4].slice(1, -1).concat([9], 8).reverse().reduce((s, x) => s * 10 + x, 0)',
  flat: "return [[1, [2]], [3]].flatMap((x) => x).flat().length + [1, 2].at(-1)! + Number([1, 2, 3].join(''))",
  from: 'return Array.from({ length: 4 }, (_, i) => i * i).reduce((s, x) => s + x, 0) + Array(3).fill(2).length',
  push: 'const a: number[] = []; for (let i = 0; i < 5; i++) a.push(i * 2); a.pop(); return a.length * 100 + a[3]!',
  objects: `const o = { x: 1, y: 2 }
    return Object.entries(o).reduce((s, [key, value]) => s + value * key.length, 0) + Object.values(o).length * 10 + Object.fromEntries([['z', 5]]).z!`,
  loops: `let sum = 0
    for (let i = 0; i < 10; i++) { if (i === 3) continue; if (i === 7) break; sum += i }
    let n = 5
    while (n > 0) { n -= 2; sum += 100 }
    do { sum += 1000 } while (sum < 2000)
    for (const x of [1, 2]) for (const y of [10, 20]) sum += x * y
    return sum`,
  switches: `let out = 0
    for (const kind of ['a', 'b', 'c', 'd']) {
      switch (kind) {
        case 'a': out += 1
        case 'b': out += 10; break
        case 'c': { out += 100; break }
        default: out += 1000
      }
    }
    return out`,
  closures: `const counters = []
    for (let i = 0; i < 3; i++) counters.push(() => i * 10)
    const compose = (f: (x: number) => number, g: (x: number) => number) => (x: number) => f(g(x))
    return counters.reduce((s, f) => s + f(), 0) + compose((x) => x + 1, (x) => x * 2)(20)`,
  recursion: 'const fib = (n: number): number => (n < 2 ? n : fib(n - 1) + fib(n - 2)); return fib(12)',
  defaults:
    'const f = (a: number, b = a * 2, ...more: number[]) => a + b + more.length; return f(1) + f(1, 5, 0, 0) * 10',
  strings:
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a template of the program
    "const s = `k${1 + 1}:${'x'.repeat(3)}`; return s.length + (s.startsWith('k2') ? 10 : 0) + s.split(':').length * 100 + (s.includes('xx') ? 1000 : 0)",
  optional: 'const o: { a?: { b: number }; f?: () => number } = {}; return (o.a?.b ?? 4) + (o.f?.() ?? 5)',
  assignment:
    'let a = 1; let b: number | undefined; b ??= 6; a ||= 9; a += 4; a *= 3; a--; ++a; const o = { n: 1 }; o.n <<= 3; return a * 100 + b * 10 + o.n',
  math: 'return Math.max(1, 5, 3) + Math.floor(2.7) + Math.ceil(2.1) + Math.log2(8) + Math.abs(-4) + Math.min(...[9, 8]) + Math.trunc(-1.5) + Math.round(Math.PI * 100)',
  numbers:
    "return (Number.isInteger(4) ? 1 : 0) + Number('12') + Number.parseInt('77', 8) + (Number.isNaN(NaN) ? 100 : 0)",
}

const names = Object.keys(programs)
const text = `import { kernel, threadIdx, f32, type Out } from 'quattuor'
${names.map((name) => `function ${name}Program(): number {\n${programs[name]}\n}`).join('\n')}

export const statics = kernel(import.meta.url, { grid: () => [1], block: [32] }, function statics(a: { out: Out<f32, '${names.length}'> }) {
  if (threadIdx.x === 0) {
${names.map((name, i) => `    a.out.put(${name}Program(), ${i})`).join('\n')}
  }
})
`

test('static code computes what JavaScript computes', async () => {
  const { out } = await withKernelFile(text, (url) =>
    runKernel(device, kernelAt(url, 'statics', 32), {}, { out: { dtype: 'f32', shape: [names.length] } }),
  )
  const { stripTypes } = await import('../../../codegen/frontend/strip-types.ts')
  for (const [i, name] of names.entries()) {
    const plain = stripTypes(`function run() {\n${programs[name]}\n}`)
    const expected = new Function(`${plain}\nreturn run()`)() as number
    assert.is(out![i], Math.fround(expected), name)
  }
})

test.run()
