import type { Exchange } from '../exchange.ts'
import { detokenizeRequest, tokenizeRequest } from '../schemas/tokenize.ts'

/** `POST /tokenize` */
export async function tokenize(exchange: Exchange): Promise<void> {
  const body = await exchange.body(tokenizeRequest)
  if (body.model != null) exchange.requireModel(body.model)
  const { text, context } = exchange.context.model
  const tokens = Array.from(await text.encodeText(body.prompt, body.add_special_tokens ?? true))
  exchange.json(200, { tokens, count: tokens.length, max_model_len: context })
}

/** `POST /detokenize` */
export async function detokenize(exchange: Exchange): Promise<void> {
  const body = await exchange.body(detokenizeRequest)
  if (body.model != null) exchange.requireModel(body.model)
  const { tokenizer } = exchange.context.model
  exchange.json(200, { prompt: tokenizer.decode(body.tokens, { skipSpecial: false }) })
}
