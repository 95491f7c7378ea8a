import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, run } from './support.ts'

/** Loads the thread's word of p0 to %x, runs `body`, stores %y to p1. */
function perThread(name: string, block: readonly [number, number, number], body: string): string {
  return kernelText(
    name,
    ['u64', 'u64'],
    block,
    `.reg .pred %p<9>; .reg .b32 %r<30>; .reg .b64 %rd<9>; .reg .b32 %x, %y, %t;
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1];
    mov.u32 %t, %tid.x; mov.u32 %r28, %ctaid.x; mov.u32 %r29, %ntid.x;
    mad.lo.u32 %t, %r28, %r29, %t;
    mul.wide.u32 %rd3, %t, 4; add.s64 %rd1, %rd1, %rd3; add.s64 %rd2, %rd2, %rd3;
    ld.global.u32 %x, [%rd1];
    ${body}
    st.global.u32 [%rd2], %y;`,
  )
}

interface Case {
  readonly name: string
  readonly body: string
  readonly reference: (x: number, thread: number, all: Uint32Array) => number
}

const collatz = (x: number): number => {
  let steps = 0
  for (let n = x; n !== 1; steps++) n = n % 2 ? 3 * n + 1 : n / 2
  return steps
}

const cases: Case[] = [
  {
    name: 'divergent_loop',
    body: `mov.u32 %y, 0;
    LOOP: setp.eq.u32 %p1, %x, 1; @%p1 bra DONE;
    and.b32 %r1, %x, 1; setp.eq.u32 %p2, %r1, 0; @%p2 bra EVEN;
    mad.lo.u32 %x, %x, 3, 1; bra NEXT;
    EVEN: shr.u32 %x, %x, 1;
    NEXT: add.u32 %y, %y, 1; bra LOOP;
    DONE:`,
    reference: (x) => collatz(x),
  },
  {
    name: 'nested_loops_with_continue_and_break',
    body: `mov.u32 %y, 0; mov.u32 %r1, 0;
    OUTER: setp.ge.u32 %p1, %r1, 7; @%p1 bra END;
    mov.u32 %r2, 0;
    INNER: setp.ge.u32 %p1, %r2, %x; @%p1 bra INNEREND;
    add.u32 %r2, %r2, 1;
    add.u32 %r3, %r1, %r2; and.b32 %r3, %r3, 3; setp.eq.u32 %p2, %r3, 0; @%p2 bra INNER;
    add.u32 %y, %y, %r2;
    setp.gt.u32 %p3, %y, 400; @%p3 bra END;
    bra INNER;
    INNEREND: add.u32 %r1, %r1, 1; bra OUTER;
    END:`,
    reference: (x) => {
      let y = 0
      for (let i = 0; i < 7; i++)
        for (let j = 0; j < x; ) {
          j++
          if (((i + j) & 3) === 0) continue
          y += j
          if (y > 400) return y
        }
      return y
    },
  },
  {
    name: 'irreducible',
    // Two blocks that jump to each other, entered at either.
    body: `mov.u32 %y, 0; and.b32 %r1, %x, 1; setp.eq.u32 %p1, %r1, 1; @%p1 bra B;
    A: add.u32 %y, %y, 3; setp.gt.u32 %p2, %y, %x; @%p2 bra END;
    B: add.u32 %y, %y, 5; setp.gt.u32 %p2, %y, %x; @%p2 bra END; bra A;
    END:`,
    reference: (x) => {
      let y = 0
      let inB = (x & 1) === 1
      for (;;) {
        y += inB ? 5 : 3
        if (y > x) return y
        inB = !inB
      }
    },
  },
  {
    name: 'irreducible_with_shuffles',
    // Lanes of one parity go round A and B, and shuffle in both: every lane runs both in the end.
    body: `mov.u32 %y, 0; mov.u32 %r5, 0; setp.eq.u32 %p1, 1, 1;
    @%p1 bra B;
    A: shfl.sync.bfly.b32 %r2, %x, 1, 31, 0xffffffff; add.u32 %y, %y, %r2;
    B: shfl.sync.bfly.b32 %r2, %x, 2, 31, 0xffffffff; add.u32 %y, %y, %r2;
    add.u32 %r5, %r5, 1; setp.lt.u32 %p2, %r5, 3; @%p2 bra A;`,
    reference: (_x, t, all) => 3 * all[t ^ 2]! + 2 * all[t ^ 1]!,
  },
  {
    name: 'early_return_of_some_lanes',
    body: `mov.u32 %y, 77; st.global.u32 [%rd2], %y;
    and.b32 %r1, %t, 5; setp.eq.u32 %p1, %r1, 5; @%p1 ret;
    vote.sync.ballot.b32 %y, 1, 0xffffffff;
    add.u32 %y, %y, %x;`,
    reference: (x, t) => {
      const ended = (lane: number): boolean => (lane & 5) === 5
      let ballot = 0
      for (let lane = 0; lane < 32; lane++) if (!ended(lane)) ballot |= 1 << lane
      return ended(t & 31) ? 77 : (ballot + x) >>> 0
    },
  },
  {
    name: 'divergent_branch_with_collectives_in_both_arms',
    body: `and.b32 %r1, %t, 16; setp.eq.u32 %p1, %r1, 0; @%p1 bra LOW;
    redux.sync.add.u32 %y, %x, 0xffff0000; bra JOIN;
    LOW: redux.sync.max.u32 %y, %x, 0x0000ffff;
    JOIN: shfl.sync.bfly.b32 %r2, %y, 16, 31, 0xffffffff; add.u32 %y, %y, %r2;`,
    reference: (_x, t, all) => {
      const warp = all.slice(t & ~31, (t & ~31) + 32)
      return (Math.max(...warp.slice(0, 16)) + warp.slice(16).reduce((a, b) => (a + b) >>> 0)) >>> 0
    },
  },
  {
    name: 'loop_with_shuffle_and_continue',
    // Lanes that continue wait for the others before the next shuffle.
    body: `mov.u32 %y, 0; mov.u32 %r1, 0;
    LOOP: setp.ge.u32 %p1, %r1, 5; @%p1 bra END;
    add.u32 %r1, %r1, 1;
    shfl.sync.idx.b32 %r2, %x, %r1, 31, 0xffffffff;
    add.u32 %r3, %t, %r1; and.b32 %r3, %r3, 1; setp.eq.u32 %p2, %r3, 0; @%p2 bra LOOP;
    add.u32 %y, %y, %r2;
    bra LOOP;
    END:`,
    reference: (_x, t, all) => {
      let y = 0
      for (let i = 1; i <= 5; i++) if ((t + i) & 1) y = (y + all[(t & ~31) + i]!) >>> 0
      return y
    },
  },
  {
    name: 'warp_dependent_trip_count',
    // Each warp goes round its own number of times, with a shuffle in the loop.
    body: `mov.u32 %y, 0; shr.u32 %r1, %t, 5; and.b32 %r1, %r1, 3;
    LOOP: setp.eq.u32 %p1, %r1, 0; @%p1 bra END;
    shfl.sync.up.b32 %r2, %x, 1, 0, 0xffffffff; add.u32 %y, %y, %r2;
    sub.u32 %r1, %r1, 1; bra LOOP;
    END:`,
    reference: (_x, t, all) => (((t >> 5) & 3) * all[t & 31 ? t - 1 : t]!) >>> 0,
  },
  {
    name: 'divergent_loop_exit_with_vote',
    // Lanes leave the loop one after the other; the vote in it counts those that stay.
    body: `mov.u32 %y, 0; and.b32 %r1, %t, 31; mov.u32 %r2, 0;
    LOOP: activemask.b32 %r3; popc.b32 %r4, %r3; add.u32 %y, %y, %r4;
    add.u32 %r2, %r2, 1; setp.le.u32 %p1, %r2, %r1; @%p1 bra LOOP;
    bar.warp.sync 0xffffffff;
    vote.sync.all.pred %p2, %p1, 0xffffffff; selp.u32 %r5, 1000, 0, %p2; add.u32 %y, %y, %r5;`,
    reference: (_x, t) => {
      let y = 0
      for (let i = 0; i <= (t & 31); i++) y += 32 - i
      return y
    },
  },
]

const text = moduleText(cases.map((c) => perThread(c.name, [64, 1, 1], c.body)))

for (const { name, reference } of cases) {
  for (const checks of [false, true])
    test(`${name.replace(/_/g, ' ')}${checks ? ', checked' : ''}`, async () => {
      const random = rng(name.length)
      const x = Uint32Array.from({ length: 128 }, () => random.integer(1, 60))
      const y = new Uint32Array(128)
      await run({ name, ptx: text, block: [64, 1, 1] }, [2, 1, 1], [x, y], { checks })
      assert.equal(
        [...y],
        [...x.keys()].map((t) => reference(x[t]!, t, x)),
      )
    })
}

test('a CTA that does not fill its last warp', async () => {
  const [name, block] = ['forty', [40, 1, 1]] as const
  // Uniform and lane values that live across a barrier, in a warp of 32 lanes and one of 8.
  const kernel = perThread(
    name,
    block,
    `.shared .align 4 .b8 all[160]; mov.u32 %r1, all; mov.u32 %r2, %tid.x; mad.lo.u32 %r3, %r2, 4, %r1;
    mov.u32 %r8, %ctaid.x; add.u32 %r8, %r8, 100;
    st.shared.u32 [%r3], %x; bar.sync 0; sub.u32 %r4, 39, %r2; mad.lo.u32 %r4, %r4, 4, %r1;
    ld.shared.u32 %y, [%r4]; add.u32 %y, %y, %r8; setp.gt.u32 %p1, %x, 30; @%p1 add.u32 %y, %y, %x;
    redux.sync.add.u32 %r5, %x, 0xffffffff; add.u32 %y, %y, %r5;`,
  )
  const ptx = moduleText([kernel])
  for (const checks of [false, true]) {
    const random = rng(40)
    const x = Uint32Array.from({ length: 80 }, () => random.integer(1, 60))
    const y = new Uint32Array(80)
    await run({ name, ptx, block }, [2, 1, 1], [x, y], { checks })
    const expected = [...x].map((value, i) => {
      const [cta, t] = [Math.floor(i / 40), i % 40]
      const own = x.slice(40 * cta, 40 * cta + 40)
      const warp = own.slice(t & ~31, (t & ~31) + 32)
      return own[39 - t]! + 100 + cta + (value > 30 ? value : 0) + warp.reduce((a, b) => a + b)
    })
    assert.equal([...y], expected)
  }
})

test('thousands of collectives in a row', async () => {
  const rounds = 3000
  const body = `mov.u32 %y, %x;\n${'shfl.sync.bfly.b32 %r1, %y, 1, 31, -1; add.u32 %y, %r1, 1;\n'.repeat(rounds)}`
  const ptx = moduleText([perThread('chain', [32, 1, 1], body)])
  const x = Uint32Array.from({ length: 32 }, (_, i) => 1000 * i)
  const y = new Uint32Array(32)
  await run({ name: 'chain', ptx, block: [32, 1, 1] }, [1, 1, 1], [x, y])
  assert.equal(
    [...y],
    [...x].map((value) => value + rounds),
  )
})

test.run()
