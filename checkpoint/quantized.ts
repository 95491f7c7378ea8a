import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { DType } from '../dsl/dtype.ts'
import { CheckpointError } from './error.ts'

/**
 * How the numbers of a checkpoint are represented. A quantized checkpoint carries this in the `__metadata__` of its
 * `model.safetensors`, one string per field, so that a loader never needs a flag to know what it reads.
 */
export interface CheckpointFormat {
  /** The short name, such as `w4a8kv4` or `w4a8kv4-g128`; follows from the fields below. `bf16` for a plain one. */
  readonly name: string
  readonly weights: {
    /** 16 means not quantized. */
    readonly bits: 4 | 8 | 16 | 32
    /** Input channels that share a second-level scale; 0 when there is one scale per output channel. */
    readonly group: number
    /**
     * `none`: symmetric codes. `integer`: a zero point in code units. `scaled`: an fp16 zero times scale, in weight
     * units. `minimum`: the least level-1 code of a group, for two-level codes.
     */
    readonly zero: 'none' | 'integer' | 'scaled' | 'minimum'
    /** The layout tag of the packed codes; `row-major` when they are not packed. */
    readonly layout: string
  }
  /**
   * The output head where it is quantized: its tensors are `lm_head.codes` and so on, in a format that the kernels name, and
   * it has a copy of its own where the original is the embedding table.
   */
  readonly head?: NamedFormat
  /**
   * Products of layers whose weights are in another format than `weights` says, by the path of their tensors, such as
   * `model.layers.3.mlp.down_proj`.
   */
  readonly exceptions?: Readonly<Record<string, NamedFormat>>
  readonly activations: {
    /** 16 means not quantized. */
    readonly bits: 8 | 16
    /** What the zero-point correction multiplies: the sum of the int8 codes, of the fp16 inputs, or nothing. */
    readonly sum: 'none' | 'codes' | 'inputs'
  }
  readonly kv: {
    /** 16 means not quantized. */
    readonly bits: 4 | 8 | 16
    /**
     * A static mean per key channel is subtracted before keys are quantized: the tensor
     * `model.layers.N.self_attn.key_mean` of each layer, f32 or f16, [key/value heads, head dimension]. It is that of keys
     * behind the rotation and, where there is one, the Hadamard transform.
     */
    readonly keyMean: boolean
    /** Queries and keys go through a normalised Hadamard transform over the head dimension, behind the rotation. */
    readonly keyHadamard: boolean
    /** The part of a vector's range that codes of keys and values cover, below 1; the whole where it is left out. */
    readonly clip?: number
  }
}

/** A weight format by the name that the kernels give it. */
export interface NamedFormat {
  readonly format: string
  /** The layout tag of its packed codes. */
  readonly layout: string
}

/**
 * Of the fields in the metadata and of the order of packed weights; a reader refuses versions that it does not know.
 * Version 1 packed 16 rows at a time and kept the parameters of groups in tensors of their own.
 */
const formatVersion = 2

/** The file of a checkpoint in one piece, quantized or not. */
export const weightsFileName = 'model.safetensors'

/** The files beside the weights that a quantized checkpoint takes over from its source, where they exist. */
export const companionFileNames = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer.model',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
] as const

const keyPrefix = 'quattuor.'

const boolean = z.enum(['true', 'false']).transform((text) => text === 'true')
const number = z
  .string()
  .regex(/^\d{1,9}$/, 'expected a number')
  .transform(Number)

const exceptions = z
  .string()
  .transform((text, context) => {
    try {
      return JSON.parse(text) as unknown
    } catch {
      context.addIssue('expected JSON')
      return z.NEVER
    }
  })
  .pipe(z.record(z.string(), z.strictObject({ format: z.string().min(1), layout: z.string().min(1) })))

const fields = z.object({
  format: z.string(),
  'weights.bits': number.pipe(z.literal([4, 8, 16, 32])),
  'weights.group': number,
  'weights.zero': z.enum(['none', 'integer', 'scaled', 'minimum']),
  'weights.layout': z.string().min(1),
  'activations.bits': number.pipe(z.literal([8, 16])),
  'activations.sum': z.enum(['none', 'codes', 'inputs']),
  'kv.bits': number.pipe(z.literal([4, 8, 16])),
  'kv.key_mean': boolean,
  'kv.key_hadamard': boolean,
  'kv.clip': z.string().transform(Number).pipe(z.number().gt(0).lt(1).transform(Math.fround)).optional(),
  'head.format': z.string().min(1).optional(),
  'head.layout': z.string().min(1).optional(),
  'weights.exceptions': exceptions.optional(),
})

/** The name that follows from the bit widths and the group: `w4a8kv4`, `w4a8kv4-g128`. */
export function formatName(format: Pick<CheckpointFormat, 'weights' | 'activations' | 'kv'>): string {
  const { weights, activations, kv } = format
  const group = weights.group > 0 ? `-g${weights.group}` : ''
  return `w${weights.bits}a${activations.bits}kv${kv.bits}${group}`
}

/** The format of a checkpoint that is not quantized. */
export function floatFormat(dtype: Extract<DType, 'f32' | 'f16' | 'bf16'>): CheckpointFormat {
  return {
    name: dtype,
    weights: { bits: dtype === 'f32' ? 32 : 16, group: 0, zero: 'none', layout: 'row-major' },
    activations: { bits: 16, sum: 'none' },
    kv: { bits: 16, keyMean: false, keyHadamard: false },
  }
}

/** The metadata that describes a quantized checkpoint. `producer` is the program's name and version. */
export function describeFormat(format: CheckpointFormat, producer: string): Map<string, string> {
  const { weights, activations, kv, head } = format
  const described: Record<string, string | number | boolean> = {
    format_version: formatVersion,
    producer,
    format: format.name,
    'weights.bits': weights.bits,
    'weights.group': weights.group,
    'weights.zero': weights.zero,
    'weights.layout': weights.layout,
    'activations.bits': activations.bits,
    'activations.sum': activations.sum,
    'kv.bits': kv.bits,
    'kv.key_mean': kv.keyMean,
    'kv.key_hadamard': kv.keyHadamard,
    ...(kv.clip !== undefined && { 'kv.clip': kv.clip }),
    ...(head && { 'head.format': head.format, 'head.layout': head.layout }),
    ...(format.exceptions && { 'weights.exceptions': JSON.stringify(format.exceptions) }),
  }
  return new Map(Object.entries(described).map(([key, value]) => [keyPrefix + key, String(value)]))
}

/**
 * The format that metadata describe; `undefined` when they do not describe any, as in a checkpoint of another program.
 * Throws `CheckpointError` naming `path` when the description is incomplete, contradicts itself or is too new.
 */
export function parseFormat(
  path: string,
  metadata: ReadonlyMap<string, string>,
): CheckpointFormat | undefined {
  const own = [...metadata].filter(([key]) => key.startsWith(keyPrefix))
  if (own.length === 0) return undefined
  const version = metadata.get(`${keyPrefix}format_version`)
  if (version !== String(formatVersion))
    throw new CheckpointError(
      `${path} has format version ${version ?? 'unknown'} and this Quattuor reads ${formatVersion}; ` +
        'quantize the model again, or use the version that wrote it',
    )
  const parsed = fields.safeParse(
    Object.fromEntries(own.map(([key, text]) => [key.slice(keyPrefix.length), text])),
  )
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new CheckpointError(
      `${path}: metadata ${keyPrefix}${issue.path.join('.')}: ${issue.message}; quantize the model again`,
    )
  }
  const found = parsed.data
  const head = { format: found['head.format'], layout: found['head.layout'] }
  if ((head.format === undefined) !== (head.layout === undefined))
    throw new CheckpointError(`${path} describes half of a quantized output head; quantize the model again`)
  const format: CheckpointFormat = {
    name: found.format,
    weights: {
      bits: found['weights.bits'],
      group: found['weights.group'],
      zero: found['weights.zero'],
      layout: found['weights.layout'],
    },
    ...(head.format !== undefined && { head: head as CheckpointFormat['head'] & object }),
    ...(found['weights.exceptions'] && { exceptions: found['weights.exceptions'] }),
    activations: { bits: found['activations.bits'], sum: found['activations.sum'] },
    kv: {
      bits: found['kv.bits'],
      keyMean: found['kv.key_mean'],
      keyHadamard: found['kv.key_hadamard'],
      ...(found['kv.clip'] !== undefined && { clip: found['kv.clip'] }),
    },
  }
  if (format.name !== formatName(format))
    throw new CheckpointError(
      `${path} calls itself ${format.name} and describes ${formatName(format)}; quantize the model again`,
    )
  return format
}

/** Copies configuration and tokenizer from one checkpoint folder to another, which is created where it is missing. */
export function copyCompanionFiles(dst: string, src: string): void {
  mkdirSync(dst, { recursive: true })
  for (const name of companionFileNames)
    if (existsSync(join(src, name))) copyFileSync(join(src, name), join(dst, name))
}
