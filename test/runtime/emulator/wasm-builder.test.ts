import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { WebAssembly } from '../../../runtime/emulator/wasm/host.ts'
import { ModuleBuilder } from '../../../runtime/emulator/wasm/module.ts'
import { opcodes } from '../../../runtime/emulator/wasm/opcodes.ts'
import { onStack, type ValueType } from '../../../runtime/emulator/wasm/operations.ts'
import { rng } from '../../support/rng.ts'
import { build } from './instantiate.ts'

/** Operand types and result of each group of opcodes, written again here so that the tables meet a second source. */
function signature(
  namespace: string,
  group: string,
): { operands: ValueType[]; result: ValueType | undefined } {
  const own = (['i32', 'i64', 'f32', 'f64'].includes(namespace) ? namespace : 'v128') as ValueType
  const scalar = (prefix: string) => group.slice(prefix.length).toLowerCase() as ValueType
  if (group.startsWith('laneFrom')) return { operands: ['v128', scalar('laneFrom')], result: 'v128' }
  if (group.startsWith('laneTo')) return { operands: ['v128'], result: scalar('laneTo') }
  if (group.startsWith('from')) return { operands: [scalar('from')], result: own }
  const table: Record<string, { operands: ValueType[]; result: ValueType | undefined }> = {
    unary: { operands: [own], result: own },
    test: { operands: [own], result: 'i32' },
    binary: { operands: [own, own], result: own },
    ternary: { operands: [own, own, own], result: own },
    compare: { operands: [own, own], result: 'i32' },
    compareMask: { operands: [own, own], result: own },
    shift: { operands: [own, 'i32'], result: own },
    load: { operands: ['i32'], result: own },
    store: { operands: ['i32', own], result: undefined },
    loadLane: { operands: ['i32', 'v128'], result: 'v128' },
    storeLane: { operands: ['i32', 'v128'], result: undefined },
    rmw: { operands: ['i32', own], result: own },
    cmpxchg: { operands: ['i32', own, own], result: own },
  }
  return table[group]!
}

test('every opcode validates with the operands of its group', () => {
  let count = 0
  for (const [namespace, groups] of Object.entries(opcodes))
    for (const [group, members] of Object.entries(groups))
      for (const name of Object.keys(members)) {
        const { operands, result } = signature(namespace, group)
        const m = new ModuleBuilder()
        m.memory({ minimum: 1, maximum: 1, shared: true }, 'memory')
        const w = m.function('f', operands, result ? [result] : [])
        for (const arg of w.args) w.get(arg)
        const lane = group.toLowerCase().includes('lane') ? [0] : []
        const skipped = operands.map(() => onStack)
        // biome-ignore lint/suspicious/noExplicitAny: the method's name and shape are data here
        const emitted = (w as any)[namespace][name](...skipped, ...lane)
        assert.is(emitted?.type, result, `${namespace}.${name}`)
        assert.ok(WebAssembly.validate(m.encode()), `${namespace}.${name}`)
        count++
      }
  assert.ok(count > 350, `${count} opcodes`)
})

const clamp = (low: number, high: number, x: number) => Math.min(high, Math.max(low, x))

/** Integer SIMD, lane by lane, against JavaScript. Types of equal signature are what a validator cannot tell apart. */
const lanewise: Record<string, [shape: 'i8x16' | 'i16x8' | 'i32x4', (a: number, b: number) => number]> = {
  'i8x16.add': ['i8x16', (a, b) => a + b],
  'i8x16.sub_sat_s': ['i8x16', (a, b) => clamp(-128, 127, a - b)],
  'i8x16.add_sat_u': ['i8x16', (a, b) => Math.min(255, (a & 255) + (b & 255))],
  'i8x16.min_s': ['i8x16', (a, b) => Math.min(a, b)],
  'i8x16.max_u': ['i8x16', (a, b) => Math.max(a & 255, b & 255)],
  'i8x16.gt_s': ['i8x16', (a, b) => (a > b ? -1 : 0)],
  'i16x8.mul': ['i16x8', (a, b) => Math.imul(a, b)],
  'i16x8.le_u': ['i16x8', (a, b) => ((a & 0xffff) <= (b & 0xffff) ? -1 : 0)],
  'i16x8.max_s': ['i16x8', (a, b) => Math.max(a, b)],
  'i16x8.sub': ['i16x8', (a, b) => a - b],
  'i32x4.add': ['i32x4', (a, b) => a + b],
  'i32x4.sub': ['i32x4', (a, b) => a - b],
  'i32x4.mul': ['i32x4', (a, b) => Math.imul(a, b)],
  'i32x4.min_u': ['i32x4', (a, b) => Math.min(a >>> 0, b >>> 0)],
  'i32x4.max_s': ['i32x4', (a, b) => Math.max(a, b)],
  'i32x4.lt_s': ['i32x4', (a, b) => (a < b ? -1 : 0)],
  'i32x4.ge_u': ['i32x4', (a, b) => (a >>> 0 >= b >>> 0 ? -1 : 0)],
}
const views = { i8x16: Int8Array, i16x8: Int16Array, i32x4: Int32Array }

test('integer SIMD instructions do what their names say', () => {
  const random = rng(11)
  for (const [name, [shape, expected]] of Object.entries(lanewise)) {
    const [namespace, method] = name.split('.') as [string, string]
    const { bytes, run } = build([], [], (w) => {
      const load = (at: number) => w.v128.load(w.i32.const(at))
      // biome-ignore lint/suspicious/noExplicitAny: the method's name is data here
      w.v128.store(w.i32.const(32), (w as any)[namespace][method](load(0), load(16)))
    })
    for (let trial = 0; trial < 50; trial++) {
      for (let i = 0; i < 32; i++) bytes[i] = random.integer(0, 255)
      run()
      const lanes = new views[shape](bytes.buffer, 0, 128)
      const n = 16 / lanes.BYTES_PER_ELEMENT
      const want = lanes.slice(0, n).map((a, i) => expected(a, lanes[n + i]!))
      assert.equal(lanes.slice(2 * n, 3 * n), want, name)
    }
  }
})

test('scalar instructions do what their names say', () => {
  const random = rng(12)
  const integers: Record<string, (a: number, b: number) => number> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: Math.imul,
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    shl: (a, b) => a << b,
    shr_s: (a, b) => a >> b,
    shr_u: (a, b) => a >>> b,
    div_s: (a, b) => Math.trunc(a / b),
    div_u: (a, b) => Math.trunc((a >>> 0) / (b >>> 0)),
    rem_s: (a, b) => a % b,
    rem_u: (a, b) => (a >>> 0) % (b >>> 0),
    rotl: (a, b) => (a << (b & 31)) | (b & 31 ? a >>> (32 - (b & 31)) : 0),
    rotr: (a, b) => (a >>> (b & 31)) | (b & 31 ? a << (32 - (b & 31)) : 0),
    lt_s: (a, b) => Number(a < b),
    lt_u: (a, b) => Number(a >>> 0 < b >>> 0),
    gt_s: (a, b) => Number(a > b),
    gt_u: (a, b) => Number(a >>> 0 > b >>> 0),
    le_s: (a, b) => Number(a <= b),
    le_u: (a, b) => Number(a >>> 0 <= b >>> 0),
    ge_s: (a, b) => Number(a >= b),
    ge_u: (a, b) => Number(a >>> 0 >= b >>> 0),
    eq: (a, b) => Number(a === b),
    ne: (a, b) => Number(a !== b),
  }
  const floats: Record<string, (a: number, b: number) => number> = {
    add: (a, b) => a + b,
    sub: (a, b) => a - b,
    mul: (a, b) => a * b,
    div: (a, b) => a / b,
    min: Math.min,
    max: Math.max,
    copysign: (a, b) => Math.abs(a) * (b < 0 ? -1 : 1),
    lt: (a, b) => Number(a < b),
    gt: (a, b) => Number(a > b),
    le: (a, b) => Number(a <= b),
    ge: (a, b) => Number(a >= b),
  }
  const binary = (type: 'i32' | 'f64', result: 'i32' | 'f64', name: string) =>
    build([type, type], [result], (w) => {
      // biome-ignore lint/suspicious/noExplicitAny: the method's name is data here
      ;(w as any)[type][name](w.get(w.args[0]), w.get(w.args[1]))
    }).run
  for (const [name, expected] of Object.entries(integers)) {
    const run = binary('i32', 'i32', name)
    for (let trial = 0; trial < 50; trial++) {
      const a = random.integer(-(2 ** 31), 2 ** 31 - 1)
      const b = trial % 2 ? random.integer(1, 40) : random.integer(-(2 ** 31), -1)
      assert.is(run(a, b) | 0, expected(a, b) | 0, `i32.${name} ${a} ${b}`)
    }
  }
  for (const [name, expected] of Object.entries(floats)) {
    const run = binary('f64', ['lt', 'gt', 'le', 'ge'].includes(name) ? 'i32' : 'f64', name)
    for (let trial = 0; trial < 50; trial++) {
      const [a, b] = [random.normal(), random.normal()]
      assert.is(run(a, b), expected(a, b), `f64.${name} ${a} ${b}`)
    }
  }
})

test('constants of every size survive their encodings', () => {
  const values = [0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, 2 ** 31 - 1, -(2 ** 31), 0xdeadbeef]
  for (const value of values) {
    assert.is(build([], ['i32'], (w) => w.i32.const(value)).run(), value | 0)
    const wide = BigInt(value) * 0x1_0000_0003n
    const run = build([], ['i64'], (w) => w.i64.const(wide)).run as () => unknown
    assert.is(run(), BigInt.asIntN(64, wide))
  }
  for (const value of [Math.PI, -0, Number.POSITIVE_INFINITY, 2 ** -149]) {
    assert.is(build([], ['f32'], (w) => w.f32.const(value)).run(), Math.fround(value))
    assert.is(build([], ['f64'], (w) => w.f64.const(value)).run(), value)
  }
  const payload = build([], ['i32'], (w) => w.i32.reinterpret_f32(w.f32.const_bits(0xffa12345)))
  assert.is(payload.run() >>> 0, 0xffa12345)
})

test('blocks, loops, choices and tables branch where their labels say', () => {
  const collatz = build(['i32'], ['i32'], (w) => {
    const [n] = w.args
    const steps = w.local('i32')
    w.block((exit) =>
      w.loop((again) => {
        w.brIf(exit, w.i32.eq(w.get(n), w.i32.const(1)))
        const odd = w.i32.and(w.get(n), w.i32.const(1))
        const next = w.choose(
          'i32',
          odd,
          () => w.i32.add(w.i32.mul(w.get(n), w.i32.const(3)), w.i32.const(1)),
          () => w.i32.shr_u(w.get(n), w.i32.const(1)),
        )
        w.set(n, next)
        w.set(steps, w.i32.add(w.get(steps), w.i32.const(1)))
        w.br(again)
      }),
    )
    w.get(steps)
  })
  assert.is(collatz.run(27), 111)

  const table = build(['i32'], ['i32'], (w) => {
    const otherwise = w.beginBlock()
    const two = w.beginBlock()
    const one = w.beginBlock()
    const zero = w.beginBlock()
    w.brTable(w.get(w.args[0]), [zero, one, two], otherwise)
    for (const value of [10, 11, 12]) {
      w.end()
      w.return(w.i32.const(value))
    }
    w.end()
    w.i32.const(99)
  })
  assert.equal(
    [0, 1, 2, 3, -1].map((i) => table.run(i)),
    [10, 11, 12, 99, 99],
  )

  const sum = build(['i32'], ['i32'], (w) => {
    const i = w.local('i32')
    const total = w.local('i32')
    w.for(
      i,
      w.i32.const(0),
      () => w.get(w.args[0]),
      () =>
        w.if(
          w.i32.and(w.get(i), w.i32.const(1)),
          () => w.set(total, w.i32.add(w.get(total), w.get(i))),
          () => w.set(total, w.i32.sub(w.get(total), w.i32.const(1))),
        ),
    )
    w.get(total)
  })
  assert.is(sum.run(10), 1 + 3 + 5 + 7 + 9 - 5)
})

test('calls reach imports, shared routines and later functions, in any order of declaration', () => {
  const m = new ModuleBuilder()
  const w = m.function('run', ['i32'], ['i32'], { export: 'run' })
  const twice = () =>
    m.routine('twice', ['i32'], ['i32'], (r) => {
      r.i32.add(r.get(r.args[0]), r.get(r.args[0]))
    })
  const imported = m.importFunction('env', 'plus', ['i32', 'i32'], ['i32'])
  const counter = m.global('i32', 7, { export: 'counter' })
  const x = w.call(twice(), w.get(w.args[0]))
  const y = w.call(imported, x, w.getGlobal(counter))
  w.setGlobal(counter, y)
  w.call(twice(), w.getGlobal(counter))
  const module = new WebAssembly.Module(m.encode())
  const { exports } = new WebAssembly.Instance(module, { env: { plus: (a: number, b: number) => a + b } })
  assert.is(exports.run(5), 34)
  assert.is(exports.counter.value, 17)
  assert.is(WebAssembly.Module.customSections(module, 'name').length, 1)
})

test('atomics act on a shared imported memory', () => {
  const m = new ModuleBuilder()
  m.importMemory('env', 'memory', { minimum: 1, maximum: 4, shared: true })
  const w = m.function('run', ['i32'], ['i32'], { export: 'run' })
  w.i32.atomic_rmw_add(w.i32.const(8), w.get(w.args[0]), 4)
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true })
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.encode()), { env: { memory } })
  const { run } = exports
  assert.is(run(3), 0)
  assert.is(run(4), 3)
  assert.is(new Int32Array(memory.buffer)[3], 7)
})

test('memory is copied and filled', () => {
  const { bytes, run } = build([], [], (w) => {
    w.memoryFill(w.i32.const(4), w.i32.const(0xab), w.i32.const(3))
    w.memoryCopy(w.i32.const(16), w.i32.const(3), w.i32.const(5))
  })
  run()
  assert.equal([...bytes.subarray(15, 22)], [0, 0, 0xab, 0xab, 0xab, 0, 0])
})

test('an unbalanced body is refused', () => {
  const m = new ModuleBuilder()
  const w = m.function('open', [], [])
  w.beginBlock()
  assert.throws(() => m.encode(), /open has 1 open block/)
  w.end()
  assert.throws(() => w.end(), /Unbalanced/)
})

test('a release gives a local to the next of its type', () => {
  const m = new ModuleBuilder()
  const w = m.function('f', [], [])
  const first = w.local('i32')
  const other = w.local('f32')
  w.release(first)
  assert.is(w.local('f32').index, other.index + 1)
  assert.is(w.local('i32').index, first.index)
})

test('two thousand instructions encode in milliseconds', () => {
  const before = process.cpuUsage()
  const m = new ModuleBuilder()
  const w = m.function('f', ['i32'], ['i32'])
  for (let i = 0; i < 500; i++)
    w.set(w.args[0], w.i32.add(w.i32.mul(w.get(w.args[0]), w.i32.const(i)), w.i32.const(1)))
  w.get(w.args[0])
  const size = m.encode().length
  // Processor time does not count what else the machine does.
  const { user, system } = process.cpuUsage(before)
  const ms = (user + system) / 1e3
  console.log(`3000 instructions, ${size} bytes: ${ms.toFixed(2)} ms`)
  assert.ok(ms < 500)
})

test.run()
