import type { Program } from '../../codegen/program.ts'
import { type Bench, type Candidate, WrongResult } from '../../runtime/tune/bench.ts'
import { rng } from './rng.ts'

/** How programs of a fake device behave, by the name in their configuration. */
export interface FakeBehaviour {
  /** Microseconds of a launch for 1 token; they grow with the tokens of the shape. */
  readonly microseconds: Readonly<Record<string, number>>
  /** Never end: at the first launch, or only when they are timed. */
  readonly hangs?: readonly string[]
  readonly hangsLater?: readonly string[]
  readonly wrong?: readonly string[]
  /** End the process. */
  readonly crashes?: readonly string[]
  readonly unloadable?: readonly string[]
  /** Milliseconds that opening a shape takes. */
  readonly openMs?: number
  /** Relative noise of the times. */
  readonly noise?: number
}

/** A bench whose device is made up: for tests of the tuner's process. */
export async function openBench(device: string | undefined, problem: unknown): Promise<Bench> {
  if (device === 'nowhere') throw new Error("there is no device 'nowhere'")
  const behaviour = problem as FakeBehaviour
  const random = rng(5)
  const is = (list: readonly string[] | undefined, name: string) => list?.includes(name) ?? false
  let tokens = 1
  const bench: Bench<string> = {
    device: {
      name: 'fake',
      slug: 'fake-gpu',
      description: 'Fake GPU',
      target: 'sm_80',
      driver: '1.0',
      measures: true,
    },
    async load(programs: readonly Program[]) {
      return programs.map((program) => {
        if (is(behaviour.unloadable, String(program.config.name))) throw new Error('too many registers')
        return { program, resources: { registers: 42, localBytes: 0, sharedBytes: program.sharedBytes } }
      })
    },
    async open(dims) {
      tokens = dims.M!
      if (behaviour.openMs) await new Promise((resolve) => setTimeout(resolve, behaviour.openMs))
    },
    async enter(_program, { config }: Candidate) {
      const name = String(config.name)
      if (is(behaviour.hangs, name)) await new Promise(() => setInterval(() => {}, 1000))
      if (is(behaviour.crashes, name)) throw Object.assign(new Error('illegal address'), { fatal: true })
      if (is(behaviour.wrong, name)) throw new WrongResult('out[0, 0] is 1 and must be 2')
      return name
    },
    async sample(entries) {
      if (entries.some((name) => is(behaviour.hangsLater, name)))
        await new Promise(() => setInterval(() => {}, 1000))
      const noise = behaviour.noise ?? 0.001
      return entries.map(
        (name) => behaviour.microseconds[name]! * Math.sqrt(tokens) * (1 + noise * Math.abs(random.normal())),
      )
    },
    leave() {},
    async close() {},
  }
  return bench as Bench
}
