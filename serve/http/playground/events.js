/**
 * The values of a stream of server-sent events with JSON, up to `[DONE]`. Throws the server's own words when an event
 * tells of an error.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
export async function* readEvents(body) {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) throw new Error('the answer broke off')
      const events = (text + decoder.decode(value, { stream: true })).split('\n\n')
      text = events.pop()
      for (const event of events) {
        if (!event.startsWith('data: ')) continue
        if (event === 'data: [DONE]') return
        const parsed = JSON.parse(event.slice(6))
        if (parsed.error) throw new Error(parsed.error.message)
        yield parsed
      }
    }
  } finally {
    await reader.cancel()
  }
}
