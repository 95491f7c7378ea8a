import { z } from 'zod'
import { chatRequest } from './schemas/chat.ts'
import { completionRequest } from './schemas/completion.ts'
import { detokenizeRequest, tokenizeRequest } from './schemas/tokenize.ts'

const posts = {
  '/v1/completions': { schema: completionRequest, summary: 'Continues texts' },
  '/v1/chat/completions': { schema: chatRequest, summary: 'Continues a conversation' },
  '/tokenize': { schema: tokenizeRequest, summary: 'Token ids of a text' },
  '/detokenize': { schema: detokenizeRequest, summary: 'The text of token ids' },
}

const gets = {
  '/v1/models': 'The model that is served',
  '/health': 'Whether the engine lives',
  '/ready': 'Whether requests are taken',
  '/version': 'The version of the server',
  '/metrics': 'Prometheus metrics',
}

const responses = {
  200: { description: 'The answer' },
  default: { description: '`{"error": {"message", "type", "param", "code"}}`' },
}

/** The OpenAPI document, from the schemas that requests are checked with. */
export function openApiDocument(version: string): unknown {
  const post = ([path, { schema, summary }]: [string, (typeof posts)[keyof typeof posts]]) => [
    path,
    {
      post: {
        summary,
        requestBody: {
          required: true,
          content: { 'application/json': { schema: z.toJSONSchema(schema, { io: 'input' }) } },
        },
        responses,
      },
    },
  ]
  return {
    openapi: '3.1.0',
    info: { title: 'Quattuor', version },
    paths: Object.fromEntries([
      ...Object.entries(posts).map(post),
      ...Object.entries(gets).map(([path, summary]) => [path, { get: { summary, responses } }]),
    ]),
  }
}
