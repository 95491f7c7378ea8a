import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { packageRoot } from '../runtime/package-root.ts'
import { GrammarThreads } from '../serve/constrain/grammar-threads.ts'
import { Engine } from '../serve/engine/engine.ts'
import { Metrics } from '../serve/http/metrics.ts'
import { ServedModel } from '../serve/http/served-model.ts'
import { createHttpServer } from '../serve/http/server.ts'
import { ChildRunner } from '../serve/process/child-runner.ts'
import { loadChatTemplate } from '../serve/text/chat-template.ts'
import { localTextService } from '../serve/text/text-service.ts'
import { loadTokenizer } from '../serve/text/tokenizer.ts'

/** A server in this process whose steps a made-up model runs, in a process of its own. */
export interface FakeServer {
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

export async function startFakeServer(options: FakeServerOptions): Promise<FakeServer> {
  const { sequences, pages, stepMilliseconds, waiting } = options
  const folder = join(packageRoot(), 'examples/models/nano-w4a8kv4')
  const tokenizer = loadTokenizer(folder)
  const chatTemplate = loadChatTemplate(folder)
  const open = () =>
    ChildRunner.open({
      ...{ kind: 'fake', vocabSize: tokenizer.vocabSize, context: 2048 },
      ...{ tokens: sequences + 1024, sequences, pages, waiting, stepMilliseconds },
    })
  let runner = await open()
  let opened = 0
  const engine = await Engine.start({
    limits: runner.ready.limits,
    pageTokens: runner.ready.pageTokens,
    openRunner: async () => {
      if (opened++ > 0) runner = await open()
      return runner
    },
  })
  const text = localTextService(tokenizer, chatTemplate)
  const model = new ServedModel({
    ...{ name: 'nano', engine, tokenizer, text, chatTemplate, endIds: [], suggested: undefined },
    openConstraints: (vocabulary) => new GrammarThreads({ folder, ...vocabulary }),
  })
  const server = createHttpServer({
    ...{ model, metrics: new Metrics('nano', engine), version: '0', maxBodyBytes: 1 << 20, apiKeys: [] },
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
