import { Socket } from 'node:net'
import { decodeStep, encodeFrame, encodeResult, type FrameKind, FrameReader } from './frames.ts'
import { openRunner } from './open-runner.ts'
import { runnerSpec } from './runner-spec.ts'

/**
 * A process that owns a device and runs the steps that its parent sends, each a frame on a pipe. Its argument says what to
 * run them on. It ends with its parent, and with the first failure: a device that has failed is of no use to a process.
 */

const pipe = new Socket({ fd: 3 })
const send = (kind: FrameKind, payload: Uint8Array): void => {
  pipe.write(encodeFrame(kind, payload))
}
const sendJson = (kind: FrameKind, value: unknown): void => send(kind, Buffer.from(JSON.stringify(value)))

function fail(error: Error): void {
  sendJson('failure', { name: error.name, message: error.message })
  pipe.end(() => process.exit(1))
}

pipe.on('error', () => process.exit(1))
pipe.on('end', () => process.exit(0))
// The terminal sends these to the whole group; the parent decides when to end.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})

try {
  const spec = runnerSpec.parse(JSON.parse(process.argv[2] ?? ''))
  const { runner, ready } = await openRunner(spec, (progress) => sendJson('progress', progress))
  const reader = new FrameReader()
  /** Results go out in the order of their steps. */
  let sent = Promise.resolve()
  pipe.on('data', (piece: Buffer) => {
    try {
      for (const { payload } of reader.push(piece)) {
        const result = runner.submit(decodeStep(payload))
        sent = sent.then(async () => send('result', encodeResult(await result)))
        sent.catch(fail)
      }
    } catch (error) {
      fail(error as Error)
    }
  })
  sendJson('ready', ready)
} catch (error) {
  fail(error as Error)
}
