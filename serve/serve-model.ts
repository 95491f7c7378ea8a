import { basename, resolve } from 'node:path'
import { openCheckpoint } from '../checkpoint/open.ts'
import { GrammarThreads } from './constrain/grammar-threads.ts'
import { Engine } from './engine/engine.ts'
import { ServedModel } from './http/served-model.ts'
import { ChildRunner } from './process/child-runner.ts'
import type { ProgressMessage, ReadyMessage } from './process/runner-spec.ts'
import { loadChatTemplate } from './text/chat-template.ts'
import { TextThreads } from './text/text-threads.ts'
import { loadTokenizer } from './text/tokenizer.ts'

export interface ServeModelOptions {
  /** What clients call the model; default: the name of its folder. */
  readonly name?: string | undefined
  readonly device?: string | undefined
  /** Sequences that run at once. */
  readonly sequences: number
  /** Tokens of one step. */
  readonly stepTokens: number
  /** Tokens of one sequence at most; less where the model has less. */
  readonly context: number
  /** Pages of the key/value cache; default: what memory has room for, or what the sequences need on the emulator. */
  readonly pages?: number | undefined
  /** Part of a device's memory that may be used; default: 0.9. */
  readonly memoryFraction?: number | undefined
  /** Requests that may wait. */
  readonly waiting: number
  /** Threads that make tokens of prompts. */
  readonly textThreads: number
  /** A step that takes longer has failed. */
  readonly stepMilliseconds: number
  /** Called when the engine's process is started anew, with the reason. */
  readonly onRestart?: (cause: Error) => void
  /** Called while weights are loaded, at the start and whenever the engine's process is started anew. */
  readonly onProgress?: (progress: ProgressMessage) => void
}

/**
 * Starts a model in a process of its own, which is started anew when it dies. Rejects with what keeps it from starting,
 * such as a `CheckpointError`.
 */
export async function serveModel(
  folder: string,
  options: ServeModelOptions,
): Promise<{ model: ServedModel; ready: ReadyMessage }> {
  const { config, generationConfig } = readCheckpoint(folder)
  const tokenizer = loadTokenizer(folder)
  const chatTemplate = loadChatTemplate(folder)
  const { device, sequences, stepTokens, context, pages, memoryFraction, waiting } = options
  const { stepMilliseconds, onRestart, onProgress } = options
  const open = () =>
    ChildRunner.open(
      {
        kind: 'model',
        folder,
        device,
        tokens: Math.max(stepTokens, sequences),
        sequences,
        context,
        pages,
        memoryFraction,
        waiting,
      },
      onProgress,
    )
  let first: ChildRunner | undefined = await open()
  const { ready } = first
  const engine = await Engine.start({
    limits: ready.limits,
    pageTokens: ready.pageTokens,
    stepMilliseconds,
    ...(onRestart ? { onRestart } : {}),
    openRunner: async () => {
      const runner = first ?? (await open())
      first = undefined
      return runner
    },
  })
  const model = new ServedModel({
    name: options.name ?? basename(resolve(folder)),
    engine,
    tokenizer,
    text: new TextThreads(folder, { threads: options.textThreads }),
    chatTemplate,
    openConstraints: (vocabulary) => new GrammarThreads({ folder, ...vocabulary }),
    endIds: config.eosIds,
    suggested: generationConfig,
  })
  return { model, ready }
}

/** What the weights' process does not need to tell. */
function readCheckpoint(folder: string) {
  const checkpoint = openCheckpoint(folder)
  const { config, generationConfig } = checkpoint
  checkpoint.close()
  return { config, generationConfig }
}
