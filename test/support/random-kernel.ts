import type { Rng } from './rng.ts'

/**
 * Random kernels on i32 values: variables, array elements and object fields assigned under nested run-time control,
 * helper functions that return early, snapshots read after later assignments. Each is a text that the compiler and
 * JavaScript both read: operators are written as calls (`add`, `shr`), which the kernel defines by operators, and
 * JavaScript by wrapping arithmetic.
 */
export interface RandomKernel {
  /** Statements of the body, on `x`, `y` (i32 values of the thread) and the three containers. */
  readonly body: string
  /** Expressions for all state at the end. */
  readonly outputs: readonly string[]
}

const variables = ['v0', 'v1', 'v2']
const places = [...variables, 'r[0]', 'r[1]', 'r[2]', 'o.a', 'o.b', 'n.inner[0]', 'n.inner[1]']

export function randomKernel(random: Rng, statements: number): RandomKernel {
  return new Generator(random).kernel(statements)
}

class Generator {
  readonly #random: Rng
  #names = 0
  /** Snapshots and loop variables in scope. */
  readonly #constants: string[] = ['x', 'y']
  /** What `break` and `continue` may leave here: a run-time loop, or nothing. */
  #inLoop = false

  constructor(random: Rng) {
    this.#random = random
  }

  kernel(statements: number): RandomKernel {
    const lines = [
      'let v0: i32 = x',
      'let v1: i32 = 3',
      'let v2 = add(y, 1)',
      'const r = [add(x, 0), add(y, 0), add(x, y)]',
      'const o = { a: add(x, 5), b: add(y, 7) }',
      'const n = { inner: [add(x, 1), add(y, 2)] }',
    ]
    for (let i = 0; i < statements; i++) lines.push(...this.#statement(3))
    return { body: lines.join('\n'), outputs: [...places, ...this.#constants.slice(2)] }
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#random.integer(0, items.length - 1)]!
  }

  #expression(depth: number): string {
    const kind = this.#random.integer(0, depth > 0 ? 8 : 3)
    if (kind === 0) return String(this.#random.integer(-9, 9))
    if (kind === 1) return this.#pick(this.#constants)
    if (kind <= 3) return this.#pick(places)
    if (kind === 4) return `shr(${this.#expression(depth - 1)}, ${this.#random.integer(0, 4)})`
    if (kind === 5)
      return `(${this.#condition(depth - 1)} ? ${this.#typed(depth - 1)} : ${this.#typed(depth - 1)})`
    if (kind === 6) return `early(${this.#typed(depth - 1)}, ${this.#typed(depth - 1)})`
    const operation = this.#pick(['add', 'sub', 'mul', 'max', 'xor'])
    return `${operation}(${this.#typed(depth - 1)}, ${this.#expression(depth - 1)})`
  }

  /** An expression that is a run-time value. */
  #typed(depth: number): string {
    return `add(${this.#pick([...places, ...this.#constants])}, ${this.#expression(depth)})`
  }

  #condition(depth: number): string {
    const compare = () =>
      `${this.#typed(depth)} ${this.#pick(['<', '<=', '>', '>=', '===', '!=='])} ${this.#expression(depth)}`
    const kind = this.#random.integer(0, 5)
    if (kind === 0) return `(${compare()} && ${compare()})`
    if (kind === 1) return `(${compare()} || ${compare()})`
    if (kind === 2) return `!(${compare()})`
    return compare()
  }

  #block(depth: number): string[] {
    const known = this.#constants.length
    const lines = Array.from({ length: this.#random.integer(1, 3) }, () => this.#statement(depth)).flat()
    this.#constants.length = known
    return lines.map((line) => `  ${line}`)
  }

  #loop(head: string, depth: number, before: readonly string[] = []): string[] {
    const outer = this.#inLoop
    this.#inLoop = true
    const body = this.#block(depth)
    this.#inLoop = outer
    return [`${head} {`, ...before.map((line) => `  ${line}`), ...body, '}']
  }

  #statement(depth: number): string[] {
    const kind = this.#random.integer(0, depth > 0 ? 12 : 5)
    if (kind <= 2) return [`${this.#pick(places)} = ${this.#typed(2)}`]
    if (kind === 3) return [`bump(o, ${this.#typed(1)})`]
    if (kind === 4) {
      const name = `s${this.#names++}`
      const lines = [`const ${name} = ${this.#pick(places)}`]
      this.#constants.push(name)
      return lines
    }
    if (kind === 5) {
      if (!this.#inLoop) return [`r.forEach((value, i) => { o.a = add(o.a, mul(value, i)) })`]
      return [`if (${this.#condition(0)}) ${this.#pick(['break', 'continue'])}`]
    }
    if (kind <= 7) {
      const lines = [`if (${this.#condition(1)}) {`, ...this.#block(depth - 1)]
      if (this.#random.integer(0, 1)) lines.push('} else {', ...this.#block(depth - 1))
      return [...lines, '}']
    }
    if (kind === 8) {
      const i = `i${this.#names++}`
      const end = this.#pick([`and(${this.#typed(0)}, 3)`, String(this.#random.integer(0, 3))])
      this.#constants.push(i)
      const lines = this.#loop(`for (const ${i} of range(${end}))`, depth - 1)
      this.#constants.splice(this.#constants.indexOf(i), 1)
      return lines
    }
    if (kind === 9) {
      const name = `w${this.#names++}`
      const head = `while (${name} < 3 && ${this.#condition(0)})`
      return [
        `let ${name}: i32 = ${this.#random.integer(0, 2)}`,
        ...this.#loop(head, depth - 1, [`${name} += 1`]),
      ]
    }
    if (kind === 10) {
      const i = `f${this.#names++}`
      return this.#loop(`for (let ${i}: i32 = and(${this.#typed(0)}, 1); ${i} < 3; ${i}++)`, depth - 1)
    }
    if (kind === 11) {
      const outer = this.#inLoop
      this.#inLoop = false
      const i = `u${this.#names++}`
      // An unrolled index is static: on its own it would have no type where a run-time condition chooses it.
      this.#constants.push(`add(x, ${i})`)
      const lines = [
        `for (const ${i} of unroll(${this.#random.integer(0, 2)})) {`,
        ...this.#block(depth - 1),
        '}',
      ]
      this.#constants.splice(this.#constants.indexOf(`add(x, ${i})`), 1)
      this.#inLoop = outer
      return lines
    }
    return ['n.inner = n.inner.map((value, i) => add(value, mul(x, i)))']
  }
}

/** The text of a file that declares kernels named `k0`, `k1`, …, each writing its outputs for one thread side by side. */
export function kernelFile(kernels: readonly RandomKernel[], dsl: string): string {
  const bodies = kernels.map(
    ({ body, outputs }, k) => `
export const k${k} = kernel(import.meta.url, { grid: () => [1], block: [64] }, function k${k}(
  a: { x: In<i32, 'N'>; out: Out<i32, 'N ${outputs.length}'> },
) {
  const x = a.x.at(threadIdx.x)
  const y = threadIdx.x
${indent(body)}
  ${outputs.map((o, i) => `a.out.put(add(x, sub(${o}, x)), threadIdx.x, ${i})`).join('\n  ')}
})`,
  )
  return `import { kernel, range, unroll, threadIdx, type i32, type In, type Out } from '${dsl}'

const add = (a: i32, b: i32): i32 => a + b
const sub = (a: i32, b: i32): i32 => a - b
const mul = (a: i32, b: i32): i32 => a * b
const xor = (a: i32, b: i32): i32 => a ^ b
const and = (a: i32, b: i32): i32 => a & b
const max = (a: i32, b: i32): i32 => Math.max(a, b)
const shr = (a: i32, n: number): i32 => a >> n
function early(a: i32, b: i32): i32 {
  if (a < b) return a - b
  const half = a >> 1
  if (half > 10) {
    if (b > 3) return half
    return half + b
  }
  return b
}
function bump(o: { a: i32; b: i32 }, by: i32): void {
  if (by < 0) return
  o.a = o.a + by
  if (by > 20) o.b = o.b - 1
}
${bodies.join('\n')}
`
}

const indent = (text: string): string =>
  text
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')

/** Runs a kernel's body as JavaScript for one thread. */
export function runAsJavaScript({ body, outputs }: RandomKernel): (x: number, y: number) => number[] {
  const plain = body.replace(/: i32/g, '')
  const names = 'add,sub,mul,xor,and,max,shr,early,bump,range,unroll'
  const run = new Function(names, 'x', 'y', `${plain}\nreturn [${outputs.join(', ')}]`) as (
    ...args: unknown[]
  ) => number[]
  return (x, y) => run(...reference, x, y)
}

const add = (a: number, b: number) => (a + b) | 0
function early(a: number, b: number): number {
  if (a < b) return (a - b) | 0
  const half = a >> 1
  if (half > 10) return b > 3 ? half : add(half, b)
  return b
}
function bump(o: { a: number; b: number }, by: number): void {
  if (by < 0) return
  o.a = add(o.a, by)
  if (by > 20) o.b = (o.b - 1) | 0
}
const count = (n: number): number[] => Array.from({ length: Math.max(0, n) }, (_, i) => i)
const reference = [
  add,
  (a: number, b: number) => (a - b) | 0,
  Math.imul,
  (a: number, b: number) => a ^ b,
  (a: number, b: number) => a & b,
  Math.max,
  (a: number, n: number) => a >> n,
  early,
  bump,
  count,
  count,
]
