import { parentPort, workerData } from 'node:worker_threads'
import { loadChatTemplate } from './chat-template.ts'
import { localTextService } from './text-service.ts'
import type { TextReply, TextTask } from './text-threads.ts'
import { loadTokenizer } from './tokenizer.ts'

/** A thread that tokenizes, so that long prompts keep nobody else waiting. */

const folder: string = workerData.folder
const service = localTextService(loadTokenizer(folder), loadChatTemplate(folder))
const port = parentPort!

port.on('message', async (task: TextTask) => {
  let reply: TextReply
  try {
    const ids =
      task.kind === 'text'
        ? await service.encodeText(task.text, task.addSpecial)
        : await service.encodeChat(task.messages, task.tools)
    reply = { ids: Int32Array.from(ids) }
  } catch (error) {
    const { name, message } = error as Error
    reply = { error: { name, message } }
  }
  port.postMessage(reply, 'ids' in reply ? [reply.ids.buffer as ArrayBuffer] : [])
})
