import { existsSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import { copyCompanionFiles, describeFormat, weightsFileName } from '../checkpoint/quantized.ts'
import { SafetensorsWriter, type TensorPlan } from '../checkpoint/safetensors-writer.ts'
import { type StoredDType, widen } from '../checkpoint/tensor.ts'
import { type DType, dtypeBytes } from '../dsl/dtype.ts'
import { columnMultiple } from '../dsl/format.ts'
import { packedShape, type WeightFormat, weightFormats } from '../kernels/formats/index.ts'
import { headProjection, layerProjections, type Projection } from '../models/projections.ts'
import { halfBits, quantizedTensors, readTensor } from '../models/weights.ts'
import { bytesOf } from '../runtime/bytes.ts'
import { clipByWeightError } from './clip-search.ts'
import { QuantizeError } from './error.ts'
import { type QuantizedMatrix, stackRows } from './matrix.ts'
import { formatOf, type Recipe } from './recipe.ts'
import { type QuantizedFormatName, roundToNearest } from './round-to-nearest.ts'

export interface QuantizeOptions {
  /** The program's name and version, for the metadata. */
  readonly producer: string
  /** Called with the bytes written so far and in all. */
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Writes the quantized form of a floating-point checkpoint into a folder: the projections of all layers as codes in
 * the order that the kernels read, the other tensors unchanged, configuration and tokenizer copied. The weights file
 * appears when it is complete. Throws `QuantizeError` or `CheckpointError`.
 */
export async function quantizeCheckpoint(
  dst: string,
  src: Checkpoint,
  recipe: Recipe,
  options: QuantizeOptions,
): Promise<void> {
  if (src.format.weights.bits < 16)
    throw new QuantizeError(
      `${src.folder} is quantized already, as ${src.format.name}; start from the original model`,
    )
  if (existsSync(dst) && realpathSync(dst) === realpathSync(src.folder))
    throw new QuantizeError(`${dst} is the model itself; name another folder for the result`)
  if (recipe.weights === 'bf16' && recipe.head)
    throw new QuantizeError(
      `a model that stays as it is keeps its head; choose a format beside --head ${recipe.head}`,
    )
  const path = join(dst, weightsFileName)
  if (existsSync(path)) throw new QuantizeError(`${path} exists; remove it, or name another folder`)

  const tensors = [...plan(src, recipe)]
  copyCompanionFiles(dst, src.folder)
  const writer = await SafetensorsWriter.create(
    path,
    tensors.flatMap((step) => step.plans),
    {
      // Element types describe a checkpoint that is not quantized.
      metadata: recipe.weights === 'bf16' ? new Map() : describeFormat(formatOf(recipe), options.producer),
      ...(options.onProgress && { onProgress: options.onProgress }),
    },
  )
  try {
    for (const step of tensors) for (const [name, bytes] of step.produce()) await writer.write(name, bytes)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** Some tensors of the result, and the work that makes their bytes. */
interface Step {
  readonly plans: readonly TensorPlan[]
  produce(): readonly (readonly [name: string, bytes: Uint8Array])[]
}

function* plan(src: Checkpoint, recipe: Recipe): Generator<Step> {
  const { weights } = recipe
  if (weights === 'bf16') {
    for (const name of src.tensors.names) yield roundStep(src, name)
    return
  }
  const quantized = new Set<string>()
  for (let layer = 0; layer < src.config.layers; layer++)
    for (const projection of Object.values(layerProjections(src.config))) {
      const prefix = `model.layers.${layer}.`
      for (const part of projection.parts)
        for (const suffix of projection.bias ? ['weight', 'bias'] : ['weight'])
          quantized.add(`${prefix}${part.path}.${suffix}`)
      yield projectionStep(src, { ...recipe, weights }, prefix, projection)
      if (projection.bias) yield biasStep(src, prefix, projection)
    }
  if (recipe.head) {
    const projection = headProjection(src.config)
    yield projectionStep(src, { ...recipe, weights: recipe.head }, '', projection)
    if (!src.config.tieEmbeddings) quantized.add(`${projection.parts[0]!.path}.weight`)
  }
  for (const name of src.tensors.names) if (!quantized.has(name)) yield copyStep(src, name)
}

function copyStep(src: Checkpoint, name: string): Step {
  const { dtype, shape } = src.tensors.info(name)
  return {
    plans: [{ name, dtype: ownType(name, dtype), shape }],
    produce: () => [[name, src.tensors.read(name).bytes]],
  }
}

function roundStep(src: Checkpoint, name: string): Step {
  const { shape } = src.tensors.info(name)
  return {
    plans: [{ name, dtype: 'bf16', shape }],
    produce: () => [[name, bytesOf(halfBits(src.tensors.read(name), 'bf16'))]],
  }
}

function ownType(name: string, dtype: StoredDType): DType {
  if (dtype in dtypeBytes) return dtype as DType
  throw new QuantizeError(
    `tensor ${name} holds ${dtype}, which Quattuor does not compute with; convert the checkpoint to bf16, f16 or f32`,
  )
}

function biasStep(src: Checkpoint, prefix: string, projection: Projection): Step {
  const parts = projection.parts.map((part) => `${prefix}${part.path}.bias`)
  const name = `${prefix}${projection.path}.${quantizedTensors.bias}`
  const { dtype } = src.tensors.info(parts[0]!)
  return {
    plans: [{ name, dtype: ownType(name, dtype), shape: [projection.n] }],
    produce: () => {
      const biases = projection.parts.map((part, i) => readTensor(src, parts[i]!, [part.n]).bytes)
      return [[name, Buffer.concat(biases)]]
    },
  }
}

interface QuantizingRecipe extends Recipe {
  readonly weights: QuantizedFormatName
}

function projectionStep(
  src: Checkpoint,
  recipe: QuantizingRecipe,
  prefix: string,
  projection: Projection,
): Step {
  const { n, k, path, parts } = projection
  const format: WeightFormat = weightFormats[recipe.weights]
  const multiple = columnMultiple(format)
  if (k % multiple !== 0)
    throw new QuantizeError(
      `tensor ${prefix}${parts[0]!.path}.weight has ${k} columns, and ${recipe.weights} needs a multiple of ` +
        `${multiple}; choose another format`,
    )
  const output = (
    tensor: keyof typeof quantizedTensors,
    dtype: DType,
    shape: readonly number[],
    content: (matrix: QuantizedMatrix) => ArrayBufferView,
  ) => ({ plan: { name: `${prefix}${path}.${quantizedTensors[tensor]}`, dtype, shape }, content })
  const outputs = [output('w', 'u32', packedShape(format, n, k), (matrix) => format.pack(matrix, n, k))]
  // Scales and zero points of groups are packed with the codes.
  if (format.activations.includes('i8')) outputs.push(output('scale', 'f16', [n], ({ scale }) => scale))
  if (recipe.weights === 'w4a8') outputs.push(output('zero', 'u8', [n], ({ zero }) => zero!))
  const clip = recipe.clip === 'weight-error' ? { clip: clipByWeightError } : {}
  return {
    plans: outputs.map((each) => each.plan),
    produce: () => {
      const quantizedParts = parts.map((part) => {
        const tensor = readTensor(src, `${prefix}${part.path}.weight`, [part.n, k])
        const matrix = { name: tensor.name, rows: part.n, columns: k, values: widen(tensor) }
        return roundToNearest(matrix, recipe.weights, clip)
      })
      const matrix = stackRows(quantizedParts)
      return outputs.map(({ plan, content }) => [plan.name, bytesOf(content(matrix))])
    },
  }
}
