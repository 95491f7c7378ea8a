import { z } from 'zod'

const count = z.int().positive()

/** What the steps of a process run on, as its parent asks for it. */
export const runnerSpec = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('model'),
    folder: z.string(),
    device: z.string().optional(),
    /** Tokens of one step, and sequences that run at once; without them, what suits the device. */
    tokens: count.optional(),
    sequences: count.optional(),
    /** Tokens of one sequence at most; less where the model has less. */
    context: count,
    /** Pages of the cache; without it, as many as memory has room for, or all sequences need on the emulator. */
    pages: count.optional(),
    /** Part of the device's memory that may be used. */
    memoryFraction: z.number().positive().max(1).default(0.9),
    waiting: count,
    /** See `ScheduleLimits`. */
    promptsFirst: z.boolean().default(false),
  }),
  z.object({
    kind: z.literal('fake'),
    vocabSize: count,
    tokens: count,
    sequences: count,
    context: count,
    pages: count,
    waiting: count,
    stepMilliseconds: z.number().nonnegative(),
  }),
])

export type RunnerSpec = z.input<typeof runnerSpec>
/** The same with what it leaves open filled in. */
export type WholeRunnerSpec = z.output<typeof runnerSpec>

const bounds = z.object({ vocabSize: count, biases: count })

/** What a process says when it is ready. */
export const readyMessage = z.object({
  bounds,
  limits: z.object({
    tokens: count,
    sequences: count,
    pages: count,
    context: count,
    waiting: count,
    watermark: z.int().nonnegative(),
    promptsFirst: z.boolean().optional(),
  }),
  pageTokens: count,
  device: z.string(),
  /** Bytes of device memory by what they are for. */
  memory: z.record(z.string(), z.number()),
  /** Seconds of the parts of the start. */
  seconds: z.record(z.string(), z.number()),
  /** Kernels of the start by where they came from. */
  kernels: z.record(z.string(), z.number()),
})

export type ReadyMessage = z.infer<typeof readyMessage>

export const progressMessage = z.object({
  what: z.enum(['weights', 'graphs']),
  done: z.number(),
  total: z.number(),
})
export type ProgressMessage = z.infer<typeof progressMessage>

export const failureMessage = z.object({ name: z.string(), message: z.string() })
