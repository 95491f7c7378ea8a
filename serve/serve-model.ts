import { basename, resolve } from 'node:path'
import { openModel } from '../models/open-model.ts'
import { GrammarThreads } from './constrain/grammar-threads.ts'
import { Engine, type EngineOptions } from './engine/engine.ts'
import { EnginePool } from './engine/engine-pool.ts'
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
  /** Devices that each run the model, which share the requests; default: `device` alone. */
  readonly devices?: readonly string[] | undefined
  /** Sequences that run at once; default: what suits the device. */
  readonly sequences?: number | undefined
  /** Tokens of one step; default: what suits the device. */
  readonly stepTokens?: number | undefined
  /** Tokens of one sequence at most; less where the model has less. */
  readonly context: number
  /** Pages of the key/value cache; default: what memory has room for, or what the sequences need on the emulator. */
  readonly pages?: number | undefined
  /** Part of a device's memory that may be used; default: 0.9. */
  readonly memoryFraction?: number | undefined
  /** Requests that may wait. */
  readonly waiting: number
  /** Prompts that fill whole steps go before decoding, so that all decode together. */
  readonly promptsFirst?: boolean
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
 * Starts a model in a process of its own for each device, which is started anew when it dies. `ready` is what each of them
 * says of itself, `notes` what was noted while the checkpoint of another program was read. Rejects with what keeps it from starting, such as a `CheckpointError`.
 */
export async function serveModel(
  folder: string,
  options: ServeModelOptions,
): Promise<{ model: ServedModel; ready: readonly ReadyMessage[]; notes: readonly string[] }> {
  const { config, generationConfig, notes } = readCheckpoint(folder)
  const tokenizer = loadTokenizer(folder)
  const chatTemplate = loadChatTemplate(folder)
  const { sequences, stepTokens, context, memoryFraction, waiting, promptsFirst } = options
  const { stepMilliseconds, onRestart, onProgress } = options
  const devices = options.devices ?? [options.device]
  const loaded = devices.map((): ProgressMessage => ({ what: 'weights', done: 0, total: 1 }))
  const open = (device: string | undefined, i: number, pages = options.pages) =>
    ChildRunner.open(
      {
        kind: 'model',
        folder,
        device,
        tokens: stepTokens,
        sequences,
        context,
        pages,
        memoryFraction,
        waiting,
        promptsFirst,
      },
      (progress) => {
        loaded[i] = progress
        onProgress?.(loaded.reduce(slower))
      },
    )
  const runners = await allOrNone(devices.map((device, i) => open(device, i)))
  const engineOptions = runners.map(({ ready }, i): EngineOptions => {
    let first: ChildRunner | undefined = runners[i]
    return {
      limits: ready.limits,
      pageTokens: ready.pageTokens,
      stepMilliseconds,
      ...(onRestart ? { onRestart } : {}),
      openRunner: async () => {
        // As many pages as there were: that is what the engine counts on.
        const runner = first ?? (await open(devices[i], i, ready.limits.pages))
        first = undefined
        return runner
      },
    }
  })
  const engine =
    devices.length > 1 ? await EnginePool.start(engineOptions) : await Engine.start(engineOptions[0]!)
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
  return { model, ready: runners.map(({ ready }) => ready), notes }
}

/** Waits for all; when one fails, the others are ended. */
async function allOrNone(opening: readonly Promise<ChildRunner>[]): Promise<readonly ChildRunner[]> {
  const outcomes = await Promise.allSettled(opening)
  const failure = outcomes.find((one) => one.status === 'rejected')
  if (failure === undefined) return Promise.all(opening)
  await Promise.all(outcomes.map((one) => (one.status === 'fulfilled' ? one.value.close() : undefined)))
  throw failure.reason
}

/** The progress that has further to go; graphs come after weights. */
function slower(a: ProgressMessage, b: ProgressMessage): ProgressMessage {
  const part = ({ what, done, total }: ProgressMessage) => (what === 'graphs' ? 1 : 0) + done / total
  return part(b) < part(a) ? b : a
}

/** What the weights' process does not need to tell. */
function readCheckpoint(folder: string) {
  const checkpoint = openModel(folder)
  const { config, generationConfig, foreign } = checkpoint
  checkpoint.close()
  return { config, generationConfig, notes: foreign?.notes ?? [] }
}
