import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ldmatrix, type MatrixCount } from '../../../runtime/emulator/collectives/ldmatrix.ts'
import {
  type MmaForm,
  mma,
  mmaRegisters,
  mmaScratchBytes,
} from '../../../runtime/emulator/collectives/mma.ts'
import { type ReduxOperation, redux } from '../../../runtime/emulator/collectives/redux.ts'
import { type ShuffleMode, shuffle, shuffleConstant } from '../../../runtime/emulator/collectives/shuffle.ts'
import { broadcast, type VoteMode, vote } from '../../../runtime/emulator/collectives/vote.ts'
import { type Rng, rng } from '../../support/rng.ts'
import { build } from './instantiate.ts'

const register = 128
const scratchAt = 65536

/** The rows and columns that a fragment element has: PTX manual, "Matrix Fragments for mma.m16n8k16 / k32". */
function aCoordinates(form: MmaForm, lane: number, i: number): [row: number, col: number] {
  const groupId = lane >> 2
  const thread = lane % 4
  if (form.accumulator === 's32') {
    if (form.k === 16) return [i < 4 ? groupId : groupId + 8, thread * 4 + (i & 3)]
    const row = i < 4 || (i >= 8 && i < 12) ? groupId : groupId + 8
    return [row, thread * 4 + (i & 3) + (i < 8 ? 0 : 16)]
  }
  if (form.k === 8) return [i < 2 ? groupId : groupId + 8, thread * 2 + (i & 1)]
  const row = i < 2 || (i >= 4 && i < 6) ? groupId : groupId + 8
  return [row, thread * 2 + (i & 1) + (i < 4 ? 0 : 8)]
}
function bCoordinates(form: MmaForm, lane: number, i: number): [row: number, col: number] {
  const groupId = lane >> 2
  const thread = lane % 4
  if (form.accumulator === 's32') return [thread * 4 + (i & 3) + (i < 4 ? 0 : 16), groupId]
  return [thread * 2 + (i & 1) + (i < 2 ? 0 : 8), groupId]
}
function cCoordinates(lane: number, i: number): [row: number, col: number] {
  return [i < 2 ? lane >> 2 : (lane >> 2) + 8, (lane % 4) * 2 + (i & 1)]
}

function mmaHarness(form: MmaForm, inPlace: boolean) {
  const n = mmaRegisters(form)
  const at = { a: 0, b: n.a * register, c: (n.a + n.b) * register, d: 20 * register }
  if (inPlace) at.d = at.c
  const { bytes, run } = build([], [], (w, m) => {
    const scratch = m.global('i32', scratchAt)
    const routine = mma(m, scratch, form)
    const list = (base: number, count: number) =>
      Array.from({ length: count }, (_, i) => w.i32.const(base + i * register))
    w.call(routine, ...list(at.d, n.d), ...list(at.a, n.a), ...list(at.b, n.b), ...list(at.c, n.c))
  })
  return { bytes, run, at, n }
}

/** Bytes of a lane's fragment element `i` when each register holds `perRegister` elements. */
const elementAt = (base: number, lane: number, i: number, perRegister: number) =>
  base + Math.floor(i / perRegister) * register + lane * 4 + (i % perRegister) * (4 / perRegister)

const signs = ['s8', 'u8'] as const
for (const k of [16, 32] as const)
  for (const a of signs)
    for (const b of signs)
      test(`mma m16n8k${k} ${a} x ${b} equals a triple loop, exactly`, () => {
        const form: MmaForm = { k, a, b, accumulator: 's32' }
        const random = rng(100 + k)
        for (let trial = 0; trial < 20; trial++) {
          const { bytes, run, at, n } = mmaHarness(form, trial % 2 === 0)
          for (let i = 0; i < at.c + 4 * register; i++) bytes[i] = random.integer(0, 255)
          // Extremes, to catch 16-bit overflow: all products 255 * 255 or -128 * -128.
          if (trial === 0)
            bytes.fill(a === 's8' ? 0x80 : 0xff, 0, at.b).fill(b === 's8' ? 0x80 : 0xff, at.b, at.c)
          const view = new DataView(bytes.buffer)
          const matrixA = Array.from({ length: 16 }, () => new Int32Array(k))
          const matrixB = Array.from({ length: k }, () => new Int32Array(8))
          const matrixC = Array.from({ length: 16 }, () => new Int32Array(8))
          const read = (sign: string, address: number) =>
            sign === 's8' ? view.getInt8(address) : view.getUint8(address)
          for (let lane = 0; lane < 32; lane++) {
            for (let i = 0; i < n.a * 4; i++) {
              const [row, col] = aCoordinates(form, lane, i)
              matrixA[row]![col] = read(a, elementAt(at.a, lane, i, 4))
            }
            for (let i = 0; i < n.b * 4; i++) {
              const [row, col] = bCoordinates(form, lane, i)
              matrixB[row]![col] = read(b, elementAt(at.b, lane, i, 4))
            }
            for (let i = 0; i < 4; i++) {
              const [row, col] = cCoordinates(lane, i)
              matrixC[row]![col] = view.getInt32(elementAt(at.c, lane, i, 1), true)
            }
          }
          for (let row = 0; row < 16; row++)
            for (let col = 0; col < 8; col++)
              for (let j = 0; j < k; j++) matrixC[row]![col]! += matrixA[row]![j]! * matrixB[j]![col]!
          run()
          for (let lane = 0; lane < 32; lane++)
            for (let i = 0; i < 4; i++) {
              const [row, col] = cCoordinates(lane, i)
              const got = view.getInt32(elementAt(at.d, lane, i, 1), true)
              assert.is(got, matrixC[row]![col]!, `row ${row} col ${col}`)
            }
        }
      })

/** Halves with few significant bits, so that every sum is exact in f32 (and, small enough, in f16) in any order. */
function exactHalf(random: Rng, name: 'f16' | 'bf16'): { bits: number; value: number } {
  const value = random.integer(-15, 15) / 4
  const f32 = new DataView(new ArrayBuffer(4))
  f32.setFloat32(0, value)
  if (name === 'bf16') return { bits: f32.getUint16(0), value }
  const bits = f32.getUint32(0)
  const exponent = (bits >>> 23) & 0xff
  const half = value === 0 ? 0 : ((exponent - 112) << 10) | ((bits >>> 13) & 0x3ff)
  return { bits: half | (value < 0 ? 0x8000 : 0), value }
}
function valueOfHalf(bits: number): number {
  const exponent = (bits >> 10) & 31
  const fraction = bits & 0x3ff
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)
  return bits & 0x8000 ? -magnitude : magnitude
}

const floatForms: MmaForm[] = [
  { k: 16, a: 'f16', b: 'f16', accumulator: 'f32' },
  { k: 16, a: 'bf16', b: 'bf16', accumulator: 'f32' },
  { k: 8, a: 'f16', b: 'f16', accumulator: 'f32' },
  { k: 8, a: 'bf16', b: 'bf16', accumulator: 'f32' },
  { k: 16, a: 'f16', b: 'f16', accumulator: 'f16' },
  { k: 8, a: 'f16', b: 'f16', accumulator: 'f16' },
]
for (const form of floatForms)
  test(`mma m16n8k${form.k} ${form.a} to ${form.accumulator} equals a triple loop on exact sums`, () => {
    const random = rng(200 + form.k)
    const name = form.a as 'f16' | 'bf16'
    for (let trial = 0; trial < 10; trial++) {
      const { bytes, run, at, n } = mmaHarness(form, trial % 2 === 0)
      const view = new DataView(bytes.buffer)
      const matrixA = Array.from({ length: 16 }, () => new Float64Array(form.k))
      const matrixB = Array.from({ length: form.k }, () => new Float64Array(8))
      const matrixC = Array.from({ length: 16 }, () => new Float64Array(8))
      for (let lane = 0; lane < 32; lane++) {
        for (let i = 0; i < n.a * 2; i++) {
          const { bits, value } = exactHalf(random, name)
          const [row, col] = aCoordinates(form, lane, i)
          view.setUint16(elementAt(at.a, lane, i, 2), bits, true)
          matrixA[row]![col] = value
        }
        for (let i = 0; i < n.b * 2; i++) {
          const { bits, value } = exactHalf(random, name)
          const [row, col] = bCoordinates(form, lane, i)
          view.setUint16(elementAt(at.b, lane, i, 2), bits, true)
          matrixB[row]![col] = value
        }
        for (let i = 0; i < 4; i++) {
          const { bits, value } = exactHalf(random, 'f16')
          const [row, col] = cCoordinates(lane, i)
          if (form.accumulator === 'f16') view.setUint16(elementAt(at.c, lane, i, 2), bits, true)
          else view.setFloat32(elementAt(at.c, lane, i, 1), value, true)
          matrixC[row]![col] = value
        }
      }
      for (let row = 0; row < 16; row++)
        for (let col = 0; col < 8; col++)
          for (let j = 0; j < form.k; j++) matrixC[row]![col]! += matrixA[row]![j]! * matrixB[j]![col]!
      run()
      for (let lane = 0; lane < 32; lane++)
        for (let i = 0; i < 4; i++) {
          const [row, col] = cCoordinates(lane, i)
          const got =
            form.accumulator === 'f16'
              ? valueOfHalf(view.getUint16(elementAt(at.d, lane, i, 2), true))
              : view.getFloat32(elementAt(at.d, lane, i, 1), true)
          assert.is(got, matrixC[row]![col]!, `row ${row} col ${col}`)
        }
    }
  })

test('mma stays within its scratch memory', () => {
  const { bytes, run } = mmaHarness({ k: 32, a: 's8', b: 's8', accumulator: 's32' }, false)
  bytes.fill(0x5a, 60000)
  run()
  assert.ok(bytes.subarray(60000, scratchAt).every((byte) => byte === 0x5a))
  assert.ok(bytes.subarray(scratchAt + mmaScratchBytes).every((byte) => byte === 0x5a))
})

const sharedBase = 8192

for (const count of [1, 2, 4] as MatrixCount[])
  for (const trans of [false, true]) {
    const fill = (bytes: Uint8Array, random: Rng) => {
      for (let i = 0; i < sharedBase + 4096; i++) bytes[i] = random.integer(0, 255)
      const view = new DataView(bytes.buffer)
      // Rows at random distinct multiples of 16, not in order.
      const slots = Array.from({ length: 128 }, (_, i) => i).sort(() => random.uniform() - 0.5)
      const rows = slots.slice(0, 32).map((slot) => slot * 16)
      for (const [lane, address] of rows.entries()) view.setUint32(lane * 4, address, true)
      return { view, rows }
    }
    const word = (view: DataView, base: number, lane: number) => view.getUint32(base + lane * 4, true)

    test(`ldmatrix x${count}${trans ? ' trans' : ''} equals a plain loop`, () => {
      const { bytes, run } = build([], [], (w, m) => {
        const registers = Array.from({ length: count }, (_, i) => w.i32.const((1 + i) * register))
        w.call(ldmatrix(m, count, trans), ...registers, w.i32.const(0), w.i32.const(sharedBase))
      })
      const { view, rows } = fill(bytes, rng(300))
      const element = (matrix: number, row: number, col: number) =>
        view.getUint16(sharedBase + rows[8 * matrix + row]! + col * 2, true)
      run()
      for (let matrix = 0; matrix < count; matrix++)
        for (let lane = 0; lane < 32; lane++) {
          const [major, minor] = [lane >> 2, (lane % 4) * 2]
          const [low, high] = trans
            ? [element(matrix, minor, major), element(matrix, minor + 1, major)]
            : [element(matrix, major, minor), element(matrix, major, minor + 1)]
          assert.is(word(view, (1 + matrix) * register, lane), (low | (high << 16)) >>> 0)
        }
    })
  }

/** The PTX manual's pseudocode of `shfl.sync`, one lane. */
function shuffleModel(mode: ShuffleMode, a: Uint32Array, lane: number, b: number, c: number) {
  const bval = b & 31
  const cval = c & 31
  const segmask = (c >> 8) & 31
  const maxLane = (lane & segmask) | (cval & ~segmask & 31)
  const minLane = lane & segmask
  let j = 0
  let pval = false
  switch (mode) {
    case 'up':
      j = lane - bval
      pval = j >= maxLane
      break
    case 'down':
      j = lane + bval
      pval = j <= maxLane
      break
    case 'bfly':
      j = lane ^ bval
      pval = j <= maxLane
      break
    case 'idx':
      j = minLane | (bval & ~segmask & 31)
      pval = j <= maxLane
      break
  }
  return { value: a[pval ? j : lane]!, predicate: Number(pval) }
}

for (const mode of ['up', 'down', 'bfly', 'idx'] as ShuffleMode[]) {
  /** c for a width: up clamps at 0, the others at 31. */
  const clampOf = (width: number) => ((32 - width) << 8) | (mode === 'up' ? 0 : 31)

  test(`shfl ${mode} with constants follows the manual for every offset and width`, () => {
    const random = rng(400)
    for (const width of [2, 8, 32])
      for (let b = 0; b < 32; b += width === 32 ? 1 : 3) {
        const c = clampOf(width)
        const { bytes, run } = build([], [], (w, m) => {
          w.call(shuffleConstant(m, mode, b, c, true), w.i32.const(128), w.i32.const(0), w.i32.const(256))
          w.call(shuffleConstant(m, mode, b, c), w.i32.const(0), w.i32.const(0))
        })
        const words = new Uint32Array(bytes.buffer, 0, 96)
        const a = words.slice(0, 32).map(() => random.integer(0, 2 ** 32 - 1))
        words.set(a)
        run()
        for (let lane = 0; lane < 32; lane++) {
          const want = shuffleModel(mode, a, lane, b, c)
          assert.is(words[32 + lane], want.value)
          assert.is(words[64 + lane], want.predicate)
          assert.is(words[lane], want.value, 'in place')
        }
      }
  })

  test(`shfl ${mode} in general follows the manual, masks and overlapping registers included`, () => {
    const random = rng(401)
    const { bytes, run } = build(['i32', 'i32'], [], (w, m) => {
      const at = (i: number) => w.i32.const(i * 128)
      w.call(shuffle(m, mode, true), at(0), at(0), at(1), w.get(w.args[0]), w.get(w.args[1]), at(2))
    })
    const words = new Uint32Array(bytes.buffer, 0, 96)
    for (let trial = 0; trial < 60; trial++) {
      for (let i = 0; i < 96; i++) words[i] = random.integer(0, 2 ** 32 - 1)
      const before = words.slice()
      const c = trial % 2 ? clampOf(2 ** random.integer(0, 5)) : random.integer(0, 0x1fff)
      const mask = trial % 3 ? random.integer(0, 2 ** 32 - 1) : 0xffffffff
      run(c, mask)
      for (let lane = 0; lane < 32; lane++) {
        const active = (mask >>> lane) & 1
        const want = shuffleModel(mode, before, lane, before[32 + lane]!, c)
        assert.is(words[lane], active ? want.value : before[lane])
        assert.is(words[64 + lane], active ? want.predicate : before[64 + lane])
      }
    }
  })
}

test('votes count the lanes of the mask', () => {
  const random = rng(500)
  for (const mode of ['all', 'any', 'uni', 'ballot'] as VoteMode[])
    for (const negate of [false, true]) {
      const { bytes, run } = build(['i32'], ['i32'], (w, m) => {
        w.call(vote(m, mode, negate), w.i32.const(0), w.get(w.args[0]))
      })
      const words = new Uint32Array(bytes.buffer, 0, 32)
      for (let trial = 0; trial < 40; trial++) {
        const density = [0, 1, 0.5][trial % 3]!
        for (let lane = 0; lane < 32; lane++) words[lane] = Number(random.uniform() < density)
        const mask = trial % 2 ? 0xffffffff : random.integer(1, 2 ** 32 - 1)
        const members = [...words.keys()].filter((lane) => (mask >>> lane) & 1)
        const truths = members.map((lane) => (words[lane] !== 0) !== negate)
        const want = {
          all: Number(truths.every(Boolean)),
          any: Number(truths.some(Boolean)),
          uni: Number(truths.every(Boolean) || !truths.some(Boolean)),
          ballot: members.reduce((bits, lane, i) => (truths[i] ? bits | (1 << lane) : bits), 0) >>> 0,
        }[mode]
        assert.is(run(mask) >>> 0, want, `${mode} ${negate}`)
      }
    }
})

test('a broadcast reaches the lanes of the mask and no other', () => {
  const { bytes, run } = build(['i32', 'i32'], [], (w, m) => {
    w.call(broadcast(m), w.i32.const(128), w.get(w.args[0]), w.get(w.args[1]))
  })
  const words = new Uint32Array(bytes.buffer, 0, 96)
  for (const mask of [0xffffffff, 0, 0x80000001, 0x00ff00f0]) {
    words.fill(7)
    run(42, mask)
    const want = words.map((_, i) => (i >= 32 && i < 64 && (mask >>> (i - 32)) & 1 ? 42 : 7))
    assert.equal(words, want)
  }
})

test('redux combines the lanes of the mask', () => {
  const random = rng(600)
  const operations: Record<ReduxOperation, (a: number, b: number) => number> = {
    add: (a, b) => a + b,
    and: (a, b) => a & b,
    or: (a, b) => a | b,
    xor: (a, b) => a ^ b,
    'min.s32': (a, b) => Math.min(a | 0, b | 0),
    'max.s32': (a, b) => Math.max(a | 0, b | 0),
    'min.u32': (a, b) => Math.min(a >>> 0, b >>> 0),
    'max.u32': (a, b) => Math.max(a >>> 0, b >>> 0),
  }
  for (const [name, combine] of Object.entries(operations)) {
    const { bytes, run } = build(['i32'], ['i32'], (w, m) => {
      w.call(redux(m, name as ReduxOperation), w.i32.const(0), w.get(w.args[0]))
    })
    const words = new Uint32Array(bytes.buffer, 0, 32)
    for (let trial = 0; trial < 40; trial++) {
      for (let lane = 0; lane < 32; lane++) words[lane] = random.integer(0, 2 ** 32 - 1)
      const mask = trial % 2 ? 0xffffffff : random.integer(1, 2 ** 32 - 1)
      const members = [...words.values()].filter((_, lane) => (mask >>> lane) & 1)
      assert.is(run(mask) >>> 0, members.reduce((a, b) => combine(a, b) >>> 0) >>> 0, name)
    }
  }
})

test('mma throughput', () => {
  const measured: MmaForm[] = [
    { k: 32, a: 'u8', b: 's8', accumulator: 's32' },
    floatForms[0]!,
    floatForms[1]!,
  ]
  for (const form of measured) {
    const n = mmaRegisters(form)
    const { run } = build(['i32'], [], (w, m) => {
      const scratch = m.global('i32', scratchAt)
      const routine = mma(m, scratch, form)
      const list = (base: number, count: number) =>
        Array.from({ length: count }, (_, i) => w.i32.const((base + i) * register))
      const i = w.local('i32')
      w.for(
        i,
        w.i32.const(0),
        () => w.get(w.args[0]),
        () => {
          w.call(routine, ...list(8, n.d), ...list(0, n.a), ...list(4, n.b), ...list(8, n.c))
        },
      )
    })
    const repeats = 20_000
    let best = Number.POSITIVE_INFINITY
    for (let trial = 0; trial < 6; trial++) {
      const start = performance.now()
      run(repeats)
      best = Math.min(best, performance.now() - start)
    }
    const rate = (16 * 8 * form.k * repeats) / best / 1e6
    console.log(`m16n8k${form.k} ${form.a}: ${rate.toFixed(1)} G MAC/s`)
    assert.ok(rate > 0.1)
  }
})

test.run()
