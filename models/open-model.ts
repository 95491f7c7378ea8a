import type { ForeignWeights } from '../checkpoint/import/foreign.ts'
import { type Checkpoint, openCheckpoint } from '../checkpoint/open.ts'
import {
  byteLengthOf,
  type HostTensor,
  missingTensor,
  type TensorInfo,
  type TensorSource,
} from '../checkpoint/tensor.ts'
import type { DType } from '../dsl/dtype.ts'
import { packedShape, weightFormats } from '../kernels/formats/index.ts'
import { bytesOf } from '../runtime/bytes.ts'
import { codedFormat } from './coded-format.ts'
import { productTensors, type QuantizedProduct } from './product-tensors.ts'
import { layerProjections, type Projection } from './projections.ts'
import { quantizedTensors, takesCodes } from './weights.ts'

/**
 * Opens a checkpoint that a model can be loaded from: one of ours, one in floats, or one that another program has quantized,
 * whose codes are put into the order of our kernels as they are read. Throws `CheckpointError`.
 */
export function openModel(folder: string): Checkpoint {
  const checkpoint = openCheckpoint(folder)
  return checkpoint.foreign ? importedCheckpoint(checkpoint, checkpoint.foreign) : checkpoint
}

/** A tensor that is made when it is read. */
interface Made {
  readonly info: TensorInfo
  make(): HostTensor
}

function importedCheckpoint(checkpoint: Checkpoint, foreign: ForeignWeights): Checkpoint {
  const { config, tensors, folder } = checkpoint
  const name = productFormat(foreign)
  const made = new Map<string, Made>()
  const add = (tensor: Made): void => {
    made.set(tensor.info.name, tensor)
  }
  for (let layer = 0; layer < config.layers; layer++)
    for (const projection of Object.values(layerProjections(config))) {
      const prefix = `model.layers.${layer}.`
      for (const tensor of name
        ? codedProduct(foreign, name, prefix, projection)
        : floatProduct(foreign, prefix, projection))
        add(tensor)
      if (projection.bias && name) add(stackedBias(tensors, prefix, projection))
    }
  const isRest = (each: string): boolean => !foreign.owns(each) && !made.has(each)
  const source: TensorSource = {
    names: [...made.keys(), ...tensors.names.filter(isRest)],
    has: (each) => made.has(each) || (isRest(each) && tensors.has(each)),
    info: (each) => made.get(each)?.info ?? (isRest(each) ? tensors.info(each) : missingTensor(folder, each)),
    read: (each) =>
      made.get(each)?.make() ?? (isRest(each) ? tensors.read(each) : missingTensor(folder, each)),
    readInto(dst, each, byteOffset = 0) {
      const tensor = made.get(each)
      if (tensor) dst.set(tensor.make().bytes.subarray(byteOffset, byteOffset + dst.byteLength))
      else tensors.readInto(dst, each, byteOffset)
    },
    close: tensors.close,
  }
  const format = name
    ? codedFormat(name, { bits: foreign.kvBits, keyMean: false, keyHadamard: false })
    : checkpoint.format
  return { ...checkpoint, tensors: source, format }
}

/** The kernels' format for what a scheme holds. */
function productFormat({ format }: ForeignWeights): QuantizedProduct | undefined {
  if (!format) return undefined
  const base = `w${format.bits}a${format.activations}` as const
  return (format.group > 0 ? `${base}-g${format.group}` : base) as QuantizedProduct
}

/** The tensors of a product, all made when the first is read, and kept until the last is. */
function codedProduct(
  foreign: ForeignWeights,
  format: QuantizedProduct,
  prefix: string,
  { path, parts, n, k }: Projection,
): Made[] {
  const kept = new Map<string, HostTensor>()
  const infos: TensorInfo[] = [
    infoOf(`${prefix}${path}.${quantizedTensors.w}`, 'u32', packedShape(weightFormats[format], n, k)),
    ...(takesCodes(format) ? [infoOf(`${prefix}${path}.${quantizedTensors.scale}`, 'f16', [n])] : []),
    ...(format === 'w4a8' ? [infoOf(`${prefix}${path}.${quantizedTensors.zero}`, 'u8', [n])] : []),
  ]
  return infos.map((info) => ({
    info,
    make() {
      if (!kept.has(info.name)) {
        const matrices = parts.map((part) => foreign.codes(prefix + part.path, part.n, k))
        for (const tensor of productTensors(prefix + path, format, matrices)) kept.set(tensor.name, tensor)
      }
      const tensor = kept.get(info.name)!
      kept.delete(info.name)
      return tensor
    },
  }))
}

function floatProduct(foreign: ForeignWeights, prefix: string, { parts, k }: Projection): Made[] {
  return parts.map(({ path, n }) => ({
    info: infoOf(`${prefix}${path}.weight`, 'f32', [n, k]),
    make: () => ({
      name: `${prefix}${path}.weight`,
      dtype: 'f32',
      shape: [n, k],
      bytes: bytesOf(foreign.floats(prefix + path, n, k)),
    }),
  }))
}

function stackedBias(tensors: TensorSource, prefix: string, { path, parts, n }: Projection): Made {
  const names = parts.map((part) => `${prefix}${part.path}.bias`)
  const { dtype } = tensors.info(names[0]!)
  const info = infoOf(`${prefix}${path}.${quantizedTensors.bias}`, dtype as DType, [n])
  return {
    info,
    make: () => ({
      name: info.name,
      dtype: dtype as DType,
      shape: info.shape,
      bytes: Buffer.concat(names.map((name) => tensors.read(name).bytes)),
    }),
  }
}

const infoOf = (name: string, dtype: DType, shape: readonly number[]): TensorInfo => ({
  ...{ name, dtype, shape },
  byteLength: byteLengthOf({ dtype, shape }),
})
