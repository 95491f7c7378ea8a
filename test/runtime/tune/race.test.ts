import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { race, raceAlone } from '../../../runtime/tune/race.ts'
import { estimate, median } from '../../../runtime/tune/statistics.ts'
import { rng } from '../../support/rng.ts'

/** A device whose times have noise with a long tail, and a clock that falls while it gets warm. */
function noisyDevice(seed: number, microseconds: readonly number[], noise: number) {
  const random = rng(seed)
  let samples = 0
  const taken = microseconds.map(() => 0)
  return {
    taken,
    sample: async (live: readonly number[]) =>
      live.map((candidate) => {
        samples++
        taken[candidate]!++
        const tail = random.uniform() < 0.05 ? 3 * noise : 0
        const drift = 1 + 0.1 * Math.min(1, samples / 200)
        return microseconds[candidate]! * drift * (1 + noise * Math.abs(random.normal()) + tail)
      }),
  }
}

test('the interval of a median holds it 19 times in 20, and bounds nothing below six samples', () => {
  const random = rng(11)
  const runs = 2000
  let held = 0
  for (let run = 0; run < runs; run++) {
    const { low, high } = estimate(Array.from({ length: 9 }, () => random.normal()))
    if (low <= 0 && high >= 0) held++
  }
  // Of nine samples the interval from the second to the eighth holds the median with 96.1 %; four standard deviations.
  assert.ok(held / runs > 0.961 - 0.018 && held / runs < 0.961 + 0.018, `${held} of ${runs}`)
  const few = estimate([3, 1, 2, 5, 4])
  assert.equal([few.low, few.high, few.median], [0, Number.POSITIVE_INFINITY, 3])
  const six = estimate([6, 3, 1, 2, 5, 4])
  assert.equal([six.low, six.high, six.samples], [1, 6, 6])
  assert.throws(() => median([]), /no numbers/)
})

test('the fastest wins although a falling clock and outliers disturb the times', async () => {
  let wins = 0
  for (let seed = 1; seed <= 40; seed++) {
    const random = rng(1000 + seed)
    const times = Array.from({ length: 24 }, () => 10 * (1.05 + 3 * random.uniform()))
    times[seed % 24] = 10
    const device = noisyDevice(seed, times, 0.01)
    const [first] = await race([...times.keys()], device.sample)
    if (first!.candidate === seed % 24) wins++
    assert.ok(first!.finished && first!.estimate.samples >= 7)
  }
  assert.is(wins, 40)
})

test('slow candidates cost few samples: half of them leave after two rounds', async () => {
  const times = Array.from({ length: 32 }, (_, i) => 10 + i)
  const device = noisyDevice(7, times, 0.002)
  const finishes = await race([...times.keys()], device.sample)
  assert.is(finishes.length, 32)
  const samples = device.taken.reduce((sum, n) => sum + n, 0)
  assert.ok(samples < 32 * 2 + 8 * 10, `${samples} samples`)
  for (const i of times.keys()) if (times[i]! > 12.5 * 1.1) assert.is(device.taken[i], 2, `${times[i]} µs`)
})

test('who left when the clock was high is told at the clock of the end, and never as faster than the winner', async () => {
  let round = 0
  const times = [10, 10.2, 10.3, 10.4, 10.5, 10.6, 10.7, 14]
  const finishes = await race([...times.keys()], async (live) => {
    round++
    // After two rounds everything takes a third longer.
    return live.map((candidate) => times[candidate]! * (round <= 2 ? 1 : 4 / 3) * (1 + 0.0001 * round))
  })
  assert.is(finishes[0]!.candidate, 0)
  const last = finishes.find(({ candidate }) => candidate === 7)!
  assert.not(last.finished)
  assert.ok(Math.abs(last.estimate.median / finishes[0]!.estimate.median - 1.4) < 0.001)
  const medians = finishes.map(({ estimate: { median } }) => median)
  assert.equal(medians[0], Math.min(...medians))
})

test('a race with one candidate samples it until its interval is known, and a tie ends early', async () => {
  const alone = noisyDevice(3, [5], 0.01)
  const [finish] = await race([0], alone.sample)
  assert.is(finish!.estimate.samples, 7)
  const even = noisyDevice(4, [5, 5, 5], 0.0005)
  await race([0, 1, 2], even.sample)
  assert.ok(even.taken.every((n) => n < 21))
})

test('nobody races when there is nobody', async () => {
  assert.equal(await race([], async () => []), [])
})

test('who needs less power wins where those close together are timed alone, and others keep their distance', async () => {
  const inTurns = [100, 101, 104, 130]
  const alone = [110, 100, 120]
  const raced = await race([0, 1, 2, 3], async (live) => live.map((candidate) => inTurns[candidate]!))
  const asked: number[] = []
  const finishes = await raceAlone(raced, async (close) => {
    asked.push(...close)
    return close.map((candidate) => alone[candidate]!)
  })
  assert.equal([...asked].sort(), [0, 1, 2])
  assert.equal(
    finishes.map(({ candidate }) => candidate),
    [1, 0, 2, 3],
  )
  assert.equal(
    finishes.map(({ estimate }) => Math.round(estimate.median)),
    [100, 110, 120, 143],
  )
  assert.is(await raceAlone(raced, async () => undefined), raced)
})

test.run()
