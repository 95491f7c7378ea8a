import { request } from 'node:http'

/** A process of clients that read streams to their ends and count their events: `stream-clients.ts URL COUNT BODY`. */

const [url, count, body] = process.argv.slice(2) as [string, string, string]

function readStream(): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', agent: false }, (response) => {
      let events = 0
      response.on('data', (piece: Buffer) => {
        for (let at = piece.indexOf('\n\n'); at >= 0; at = piece.indexOf('\n\n', at + 2)) events++
      })
      response.on('end', () => resolve(events))
      response.on('error', reject)
    })
    call.on('error', reject)
    call.end(body)
  })
}

const events = await Promise.all(Array.from({ length: Number(count) }, readStream))
console.log(events.reduce((a, b) => a + b, 0))
