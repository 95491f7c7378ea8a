import type { Exchange } from '../exchange.ts'
import type { ServedModel } from '../served-model.ts'

const modelObject = ({ name, created, context, chats }: ServedModel) => ({
  id: name,
  object: 'model',
  created,
  owned_by: 'quattuor',
  max_model_len: context,
  chat: chats,
})

/** `GET /v1/models` */
export async function models(exchange: Exchange): Promise<void> {
  exchange.json(200, { object: 'list', data: [modelObject(exchange.context.model)] })
}

/** `GET /v1/models/NAME` */
export async function model(exchange: Exchange, name: string): Promise<void> {
  exchange.requireModel(name)
  exchange.json(200, modelObject(exchange.context.model))
}

/** `GET /health`: whether the engine lives. It restarts what hangs or fails, and is closed when that does not help. */
export async function health(exchange: Exchange): Promise<void> {
  const { engine } = exchange.context.model
  const { steps, running, waiting } = engine.stats
  exchange.json(engine.failed ? 503 : 200, {
    status: engine.failed ? 'failed' : 'ok',
    steps,
    running,
    waiting,
  })
}

/** `GET /ready`: whether requests are taken. */
export async function ready(exchange: Exchange): Promise<void> {
  const { closed } = exchange.context.model.engine
  exchange.json(
    closed ? 503 : 200,
    closed ? { status: 'closed', reason: closed.message } : { status: 'ready' },
  )
}

/** `GET /version` */
export async function version(exchange: Exchange): Promise<void> {
  exchange.json(200, { version: exchange.context.version })
}

/** `GET /metrics` */
export async function metrics(exchange: Exchange): Promise<void> {
  const { type, text } = await exchange.context.metrics.text()
  exchange.response.writeHead(200, { 'content-type': type })
  exchange.response.end(text)
}
