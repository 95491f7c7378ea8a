import fc from 'fast-check'
import { test } from 'uvu'
import { rng } from '../../support/rng.ts'
import {
  randomLimits,
  randomOperation,
  type ScheduleOperation,
  ScheduleWalk,
} from '../../support/schedule-walk.ts'

const limits = fc.record({
  sequences: fc.integer({ min: 1, max: 6 }),
  tokens: fc.integer({ min: 6, max: 24 }),
  pages: fc.integer({ min: 2, max: 30 }),
  context: fc.integer({ min: 8, max: 80 }),
  waiting: fc.integer({ min: 1, max: 10 }),
  watermark: fc.integer({ min: 0, max: 3 }),
})

const operation: fc.Arbitrary<ScheduleOperation> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<ScheduleOperation>({ kind: 'plan' }) },
  { weight: 3, arbitrary: fc.constant<ScheduleOperation>({ kind: 'collect' }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), back: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      theme: fc.nat(2),
      shared: fc.nat(30),
      follows: fc.boolean(),
      generated: fc.oneof(fc.constant(0), fc.nat(20)),
      own: fc.nat(8),
      maxTokens: fc.integer({ min: 1, max: 20 }),
      minTokens: fc.nat(5),
      stops: fc.boolean(),
      priority: fc.nat(2),
      client: fc.constantFrom('a', 'b'),
      seed: fc.nat(9),
    }),
  },
)

test('whatever comes in whatever order, every request gets the tokens that it gets alone, and no page is lost', () => {
  fc.assert(
    fc.property(
      limits,
      fc.nat(3),
      fc.array(operation, { maxLength: 80 }),
      (x, log2PageTokens, operations) => {
        const walk = new ScheduleWalk(x, 2 ** log2PageTokens)
        for (const step of operations) walk.do(step)
        walk.drain()
      },
    ),
    { numRuns: 600, seed: 31 },
  )
})

test('long walks with limits of all kinds end with every page free', () => {
  const random = rng(32)
  for (let i = 0; i < 20; i++) {
    const { limits, pageTokens } = randomLimits(random)
    const walk = new ScheduleWalk(limits, pageTokens)
    for (let step = 0; step < 600; step++) walk.do(randomOperation(random))
    walk.drain()
  }
})

test.run()
