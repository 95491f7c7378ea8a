import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { PAGE_TOKENS } from '../kernels/formats/kv.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { GrammarThreads } from '../serve/constrain/grammar-threads.ts'
import { Engine } from '../serve/engine/engine.ts'
import { Metrics } from '../serve/http/metrics.ts'
import { ServedModel } from '../serve/http/served-model.ts'
import { createHttpServer } from '../serve/http/server.ts'
import { ChildRunner } from '../serve/process/child-runner.ts'
import type { RunnerSpec } from '../serve/process/runner-spec.ts'
import { loadChatTemplate } from '../serve/text/chat-template.ts'
import { localTextService } from '../serve/text/text-service.ts'
import { loadTokenizer, type Tokenizer } from '../serve/text/tokenizer.ts'

/** A server in this process whose steps run in a process of their own. */
export interface ChildServer {
  readonly url: string
  readonly engine: Engine
  /** The process that runs steps now. */
  readonly runner: ChildRunner
  close(): Promise<void>
}

export interface FakeServerOptions {
  readonly sequences: number
  readonly pages: number
  readonly stepMilliseconds: number
  /** Requests that may wait. */
  readonly waiting: number
}

/** A server of a made-up model, with the tokenizer of the smallest example. */
export const startFakeServer = (options: FakeServerOptions): Promise<ChildServer> =>
  startChildServer(join(packageRoot(), 'examples/models/nano-w4a8kv4'), ({ vocabSize }) => ({
    ...{ kind: 'fake', vocabSize, context: 2048, tokens: options.sequences + 1024 },
    ...options,
  }))

/** A server of a model's folder, on a device. */
export const startDeviceServer = (
  folder: string,
  device: string | undefined,
  limits: { readonly sequences: number; readonly context: number; readonly waiting: number },
): Promise<ChildServer> => {
  // What all sequences may need, and no more: others may use the device, too.
  const pages = limits.sequences * Math.ceil(limits.context / PAGE_TOKENS)
  return startChildServer(folder, () => ({ kind: 'model', folder, device, pages, ...limits }))
}

/** Clients call the model `served`. */
async function startChildServer(
  folder: string,
  specOf: (tokenizer: Tokenizer) => RunnerSpec,
): Promise<ChildServer> {
  const tokenizer = loadTokenizer(folder)
  const chatTemplate = loadChatTemplate(folder)
  const spec = specOf(tokenizer)
  let runner = await ChildRunner.open(spec)
  const { limits, pageTokens } = runner.ready
  let opened = 0
  const engine = await Engine.start({
    ...{ limits, pageTokens },
    openRunner: async () => {
      if (opened++ > 0) runner = await ChildRunner.open({ ...spec, pages: limits.pages })
      return runner
    },
  })
  const text = localTextService(tokenizer, chatTemplate)
  const model = new ServedModel({
    ...{ name: 'served', engine, tokenizer, text, chatTemplate, endIds: [], suggested: undefined },
    openConstraints: (vocabulary) => new GrammarThreads({ folder, ...vocabulary }),
  })
  const server = createHttpServer({
    ...{ model, metrics: new Metrics('served', engine), version: '0', maxBodyBytes: 1 << 20, apiKeys: [] },
    logger: pino({ level: 'silent' }),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    engine,
    get runner() {
      return runner
    },
    async close() {
      await engine.close()
      await model.constraints.close()
      server.closeAllConnections()
      server.close()
    },
  }
}
