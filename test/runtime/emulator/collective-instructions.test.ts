import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../../dsl/half.ts'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, run } from './support.ts'

/*
 * Every collective instruction in a kernel: that operands arrive in order, that uniform values and literals may stand
 * for registers, that partial warps work. The routines themselves are tested in collectives.test.ts.
 */

const registers = `.reg .pred %p<20>; .reg .b32 %r<60>; .reg .f32 %f<20>; .reg .b64 %rd<20>; .reg .b32 %x, %y, %z, %t;
  ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; mov.u32 %t, %tid.x;
  mad.wide.u32 %rd3, %t, 4, %rd1; mad.wide.u32 %rd4, %t, 4, %rd2;`

interface Exchange {
  readonly name: string
  /** %x in, %y out. */
  readonly body: string
  readonly reference: (x: Uint32Array, lane: number) => number
}

const sum = (values: Iterable<number>): number => {
  let total = 0
  for (const value of values) total = (total + value) >>> 0
  return total
}
const lanes = Array.from({ length: 32 }, (_, lane) => lane)

const exchanges: Exchange[] = [
  {
    name: 'shuffle_up_with_predicate',
    body: 'shfl.sync.up.b32 %y|%p1, %x, 3, 0, -1; @!%p1 mov.u32 %y, 9;',
    reference: (x, l) => (l >= 3 ? x[l - 3]! : 9),
  },
  {
    name: 'shuffle_down_in_segments_of_eight',
    body: 'shfl.sync.down.b32 %y|%p1, %x, 2, 0x1807, 0xffffffff; selp.u32 %z, 1, 0, %p1; add.u32 %y, %y, %z;',
    reference: (x, l) => ((l & 7) + 2 <= 7 ? x[l + 2]! + 1 : x[l]!) >>> 0,
  },
  {
    name: 'shuffle_from_a_lane_of_each_ones_choice',
    body: 'mul.lo.u32 %z, %t, 7; add.u32 %z, %z, 3; shfl.sync.idx.b32 %y, %x, %z, 31, -1;',
    reference: (x, l) => x[(7 * l + 3) & 31]!,
  },
  {
    name: 'shuffle_of_a_uniform_value_and_a_special_register',
    body: `mov.u32 %z, %ctaid.x; add.u32 %z, %z, 5; shfl.sync.bfly.b32 %y, %z, 1, 31, -1;
      shfl.sync.bfly.b32 %z, %t, 4, 31, -1; add.u32 %y, %y, %z;
      mov.u32 %r1, %laneid; shfl.sync.idx.b32 %z, %r1, 6, 31, -1; add.u32 %y, %y, %z; add.u32 %y, %y, %x;`,
    reference: (x, l) => (5 + (l ^ 4) + 6 + x[l]!) >>> 0,
  },
  {
    name: 'shuffle_within_half_a_warp',
    body: `mov.u32 %y, %x; setp.ge.u32 %p1, %t, 16; @%p1 bra SKIP;
      shfl.sync.bfly.b32 %y, %x, 8, 31, 0xffff;
      SKIP:`,
    reference: (x, l) => (l < 16 ? x[l ^ 8]! : x[l]!),
  },
  {
    name: 'votes',
    body: `setp.gt.u32 %p1, %x, 500; vote.sync.ballot.b32 %y, %p1, -1; vote.sync.any.pred %p2, %p1, -1;
      vote.sync.all.pred %p3, !%p1, -1; vote.sync.uni.pred %p4, %p2, -1;
      selp.u32 %z, 1, 0, %p2; add.u32 %y, %y, %z; selp.u32 %z, 1, 0, %p3; add.u32 %y, %y, %z;
      selp.u32 %z, 1, 0, %p4; add.u32 %y, %y, %z;`,
    reference: (x) => {
      const ballot = sum(lanes.map((l) => (x[l]! > 500 ? 2 ** l : 0)))
      return (ballot + Number(ballot !== 0) + Number(ballot === 0) + 1) >>> 0
    },
  },
  {
    name: 'reductions',
    body: `redux.sync.add.u32 %y, %x, -1; redux.sync.min.u32 %r1, %x, -1; redux.sync.max.s32 %r2, %x, -1;
      redux.sync.xor.b32 %r3, %x, -1; redux.sync.and.b32 %r4, %x, -1; redux.sync.or.b32 %r5, %x, -1;
      add.u32 %y, %y, %r1; add.u32 %y, %y, %r2; add.u32 %y, %y, %r3; add.u32 %y, %y, %r4; add.u32 %y, %y, %r5;`,
    reference: (x) =>
      sum([
        sum(x),
        Math.min(...x),
        Math.max(...new Int32Array(x.buffer)),
        x.reduce((a, b) => (a ^ b) >>> 0),
        x.reduce((a, b) => (a & b) >>> 0),
        x.reduce((a, b) => (a | b) >>> 0),
      ]),
  },
  {
    name: 'result_of_a_vote_decides_a_branch',
    body: `setp.eq.u32 %p1, %x, 12345; vote.sync.any.pred %p2, %p1, -1; mov.u32 %y, 1; @%p2 bra SKIP;
      shfl.sync.bfly.b32 %y, %x, 1, 31, -1;
      SKIP: bar.warp.sync -1;`,
    reference: (x, l) => x[l ^ 1]!,
  },
]

function exchangeKernel({ name, body }: Exchange): string {
  return kernelText(
    name,
    ['u64', 'u64'],
    [32, 1, 1],
    `${registers} ld.global.u32 %x, [%rd3]; ${body} st.global.u32 [%rd4], %y;`,
  )
}

interface Product {
  readonly name: string
  readonly shape: 'm16n8k16' | 'm16n8k32' | 'm16n8k8'
  readonly types: string
  readonly bytes: 1 | 2
  readonly a: (bits: number) => number
  readonly b: (bits: number) => number
  readonly exact: boolean
}

const signed = (bits: number): number => (bits << 24) >> 24
const unsigned = (bits: number): number => bits & 0xff
const products: Product[] = [
  ...(['s8', 'u8'] as const).flatMap((a) =>
    (['s8', 'u8'] as const).flatMap((b): Product[] =>
      (['m16n8k16', 'm16n8k32'] as const).map((shape) => ({
        name: `${shape}_${a}_${b}`,
        shape,
        types: `s32.${a}.${b}.s32`,
        bytes: 1,
        a: a === 's8' ? signed : unsigned,
        b: b === 's8' ? signed : unsigned,
        exact: true,
      })),
    ),
  ),
  ...(
    [
      ['f16', f16Value],
      ['bf16', bf16Value],
    ] as const
  ).flatMap(([type, value]): Product[] =>
    (['m16n8k8', 'm16n8k16'] as const).map((shape) => ({
      name: `${shape}_${type}`,
      shape,
      types: `f32.${type}.${type}.f32`,
      bytes: 2,
      a: value,
      b: value,
      exact: false,
    })),
  ),
]

const depthOf = (shape: string): number => Number(/k(\d+)/.exec(shape)![1])

/** p0: A (16 x K) then B (8 x K, by column) then C (16 x 8); p1: D. All loads follow the manual's fragment layout. */
function productKernel({ name, shape, types, bytes, exact }: Product): string {
  const rowBytes = depthOf(shape) * bytes
  const words = rowBytes / 4
  const halves = words / 4
  const type = exact ? 'b32' : 'f32'
  const [d, c] = exact ? ['%r', '%r'] : ['%f', '%f']
  const a = Array.from({ length: 2 * halves }, (_, i) => `%r${10 + i}`)
  const b = Array.from({ length: halves }, (_, i) => `%r${20 + i}`)
  const accumulators = [1, 2, 3, 4].map((i) => `${c}${i}`)
  const loads = [
    ...a.map((r, i) => `ld.global.u32 ${r}, [%rd5+${(i & 1) * 8 * rowBytes + (i >> 1) * 16}];`),
    ...b.map((r, i) => `ld.global.u32 ${r}, [%rd6+${i * 16}];`),
    ...accumulators.map((r, i) => `ld.global.${type} ${r}, [%rd7+${(i >> 1) * 256 + (i & 1) * 4}];`),
  ]
  const stores = accumulators.map(
    (_, i) => `st.global.${type} [%rd8+${(i >> 1) * 256 + (i & 1) * 4}], ${d}${5 + i};`,
  )
  return kernelText(
    name,
    ['u64', 'u64'],
    [32, 1, 1],
    `${registers}
    shr.u32 %x, %t, 2; and.b32 %y, %t, 3; mul.lo.u32 %z, %x, ${rowBytes}; mad.lo.u32 %z, %y, 4, %z;
    cvt.u64.u32 %rd9, %z; add.u64 %rd5, %rd1, %rd9; add.u64 %rd6, %rd5, ${16 * rowBytes};
    mul.lo.u32 %z, %x, 32; mad.lo.u32 %z, %y, 8, %z; cvt.u64.u32 %rd9, %z;
    add.u64 %rd7, %rd1, %rd9; add.u64 %rd7, %rd7, ${24 * rowBytes}; add.u64 %rd8, %rd2, %rd9;
    ${loads.join(' ')}
    mma.sync.aligned.${shape}.row.col.${types} {${d}5, ${d}6, ${d}7, ${d}8}, {${a.join(', ')}}, {${b.join(', ')}}, {${accumulators.join(', ')}};
    ${stores.join(' ')}`,
  )
}

/** Rows at scattered places of shared memory, 16 bytes each; x1, x2 and x4, as they are and transposed. */
const matrices = ([1, 2, 4] as const).flatMap((count) =>
  [false, true].map((trans) => {
    const d = Array.from({ length: count }, (_, i) => `%r${i + 1}`)
    return {
      name: `ldmatrix_x${count}${trans ? '_trans' : ''}`,
      count,
      trans,
      text: kernelText(
        `ldmatrix_x${count}${trans ? '_trans' : ''}`,
        ['u64', 'u64'],
        [32, 1, 1],
        `${registers}
        mov.u32 %r40, smem; mad.lo.u32 %r41, %t, 16, %r40; mad.wide.u32 %rd5, %t, 16, %rd1;
        ld.global.v4.u32 {%r42, %r43, %r44, %r45}, [%rd5]; st.shared.v4.u32 [%r41+32], {%r42, %r43, %r44, %r45};
        bar.warp.sync -1;
        mul.lo.u32 %r46, %t, 5; and.b32 %r46, %r46, 31; mad.lo.u32 %r1, %r46, 16, %r40;
        ldmatrix.sync.aligned.m8n8.x${count}${trans ? '.trans' : ''}.shared.b16 {${d.join(', ')}}, [%r1+32];
        mad.wide.u32 %rd6, %t, 16, %rd2;
        ${d.map((r, i) => `st.global.u32 [%rd6+${4 * i}], ${r};`).join(' ')}`,
      ),
    }
  }),
)

const ptx = moduleText([
  ...exchanges.map(exchangeKernel),
  ...products.map(productKernel),
  ...matrices.map(({ text }) => text),
])

for (const { name, reference } of exchanges)
  for (const checks of [false, true])
    test(`${name.replace(/_/g, ' ')}${checks ? ', checked' : ''}`, async () => {
      const random = rng(name.length)
      const x = Uint32Array.from(
        { length: 32 },
        () => random.integer(0, 1000) * (random.integer(0, 1) ? 1 : 4e6),
      )
      const y = new Uint32Array(32)
      await run({ name, ptx, block: [32, 1, 1] }, [1, 1, 1], [x, y], { checks })
      assert.equal(
        [...y],
        lanes.map((l) => reference(x, l)),
      )
    })

for (const product of products)
  test(`mma ${product.name.replace(/_/g, ' ')}`, async () => {
    const random = rng(product.name.length)
    const k = depthOf(product.shape)
    const bits = product.name.endsWith('bf16') ? bf16Bits : f16Bits
    const draw = (): number => (product.exact ? random.integer(0, 255) : bits(random.integer(-40, 40) / 8))
    const a = Array.from({ length: 16 * k }, draw)
    const b = Array.from({ length: 8 * k }, draw)
    const c = Array.from({ length: 128 }, () => random.integer(-1000, 1000))
    const operands = product.bytes === 1 ? Uint8Array.from([...a, ...b]) : Uint16Array.from([...a, ...b])
    const accumulators = product.exact ? Int32Array.from(c) : Float32Array.from(c)
    const input = new Uint8Array(operands.byteLength + 512)
    input.set(new Uint8Array(operands.buffer))
    input.set(new Uint8Array(accumulators.buffer), operands.byteLength)
    const result = product.exact ? new Int32Array(128) : new Float32Array(128)
    await run({ name: product.name, ptx, block: [32, 1, 1] }, [1, 1, 1], [input, result])
    // Float operands are small multiples of 1/8: their sums are exact in any order.
    const expected = c.map((start, i) => {
      const [row, column] = [i >> 3, i & 7]
      let total = start
      for (let j = 0; j < k; j++) total += product.a(a[row * k + j]!) * product.b(b[column * k + j]!)
      return total
    })
    assert.equal([...result], expected)
  })

for (const { name, count, trans } of matrices)
  for (const checks of [false, true])
    test(`${name.replace(/_/g, ' ')}${checks ? ', checked' : ''}`, async () => {
      const random = rng(count)
      const x = Uint16Array.from({ length: 32 * 8 }, () => random.integer(0, 65535))
      const y = new Uint16Array(32 * 8)
      await run({ name, ptx, block: [32, 1, 1], sharedBytes: 1024 }, [1, 1, 1], [x, y], { checks })
      const at = (matrix: number, row: number, column: number): number => {
        const lane = 8 * matrix + row
        return x[((5 * lane) & 31) * 8 + column]!
      }
      for (let lane = 0; lane < 32; lane++)
        for (let matrix = 0; matrix < count; matrix++)
          for (const i of [0, 1]) {
            const [row, column] = [lane >> 2, 2 * (lane & 3) + i]
            const expected = trans ? at(matrix, column, row) : at(matrix, row, column)
            assert.is(y[8 * lane + 2 * matrix + i], expected)
          }
    })

test.run()
