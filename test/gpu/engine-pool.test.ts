import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { describeDevices } from '../../runtime/open-device.ts'
import { packageRoot } from '../../runtime/package-root.ts'
import type { Engine } from '../../serve/engine/engine.ts'
import type { InferenceEngine } from '../../serve/engine/inference-engine.ts'
import type { EngineRequest } from '../../serve/engine/request.ts'
import { greedy } from '../../serve/sampling.ts'
import { serveModel } from '../../serve/serve-model.ts'
import { arrangedRequests } from '../support/arrangements.ts'

const nanoFolder = join(packageRoot(), 'examples/models/nano-w4a8kv4')
const title = 'processes on GPUs that share requests'
const { gpus } = await describeDevices()
const usable = gpus.filter(({ target }) => target).map(({ name }) => name)
/** Two GPUs, or two processes on one. */
const devices = usable.length > 1 ? usable.slice(0, 2) : [usable[0]!, usable[0]!]

const start = async (names: readonly string[]) => {
  const { model } = await serveModel(nanoFolder, {
    ...{ devices: names, sequences: 64, stepTokens: 256, context: 1024, pages: 600 },
    ...{ waiting: 1000, textThreads: 1, stepMilliseconds: 60_000 },
  })
  return model
}

const tokensOf = (engine: InferenceEngine, request: EngineRequest): Promise<number[]> =>
  new Promise((resolve, reject) => {
    const tokens: number[] = []
    engine.add(request, {
      onToken: (token) => tokens.push(token),
      onEnd: (error) => (error ? reject(error) : resolve(tokens)),
    })
  })

const tokensOfAll = (engine: InferenceEngine, requests: readonly EngineRequest[]) =>
  Promise.all(requests.map((request) => tokensOf(engine, request)))

/** Numbers of the processes that run steps for this one, in the order of their start. */
const runnerProcesses = (): number[] =>
  execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => {
      const [, pid, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
      return Number(parent) === process.pid && command!.includes('process/child') ? [Number(pid)] : []
    })
    .sort((a, b) => a - b)

const waitUntil = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2))
}

const test = suite(title)
if (usable.length > 0) {
  console.log(`on ${devices.join(' and ')}`)
  test('two give the tokens of one, and one goes on while the other is killed, over and over', async () => {
    const requests = arrangedRequests(64, 300)
    const alone = await start(devices.slice(0, 1))
    const expected = await tokensOfAll(alone.engine, requests)
    await alone.close()

    const both = await start(devices)
    const { engine } = both
    assert.equal(await tokensOfAll(engine, requests), expected)
    for (const { stats } of engine.engines) assert.ok(stats.generatedTokens > 0)

    const engines = engine.engines as readonly Engine[]
    for (const killed of [0, 1]) {
      await waitUntil(() => engines.every(({ available }) => available))
      const [one, other] = [engines[killed]!, engines[1 - killed]!]
      const { steps, restarts } = one.stats
      const running = tokensOfAll(engine, requests)
      await waitUntil(() => one.stats.steps > steps + 20)
      // The process that is started anew is the youngest.
      process.kill(runnerProcesses()[0]!, 'SIGKILL')
      await waitUntil(() => one.stats.restarts > restarts)
      assert.is(one.stats.running, 0)
      const before = other.stats.steps
      await waitUntil(() => other.stats.steps > before + 5)
      assert.equal(await running, expected)
    }
    assert.is(engine.stats.heldPages, 0)
    await both.close()
  })

  test('prompts that begin alike go where their beginning is', async () => {
    const both = await start(devices)
    const { engine } = both
    const promptOf = (group: number, end: number) =>
      Array.from({ length: 200 }, (_, i) => 300 + ((i < 180 ? 31 * group + 7 * i : 3 * i + end) % 500))
    for (let round = 0; round < 3; round++)
      await Promise.all(
        [0, 1].map((group) =>
          tokensOf(engine, { prompt: promptOf(group, round), maxTokens: 8, stopIds: [], sampling: greedy }),
        ),
      )
    for (const { stats } of engine.engines)
      assert.equal([stats.promptTokens, stats.prefixHits], [600, 2 * 128])
    await both.close()
  })
} else {
  console.log(`skipped: ${title}, because no GPU`)
  test.skip('no GPU', () => {})
}
test.run()
