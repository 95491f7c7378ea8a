import type { ModelConfig } from '../checkpoint/config.ts'
import type { LogitType } from '../kernels/sampling/groups.ts'
import type { Device } from '../runtime/device.ts'
import { Tensor } from '../runtime/tensor.ts'
import { layerProjections } from './projections.ts'
import type { StepLimits } from './step.ts'
import { StepInputs, type StepInputTensors } from './step-inputs.ts'
import type { ActivationType } from './weights.ts'

/** Rows of 8-bit activations with their scales and code sums. */
export interface QuantizedActivations {
  readonly q: Tensor
  readonly scale: Tensor
  readonly sum: Tensor
}

/** The input of a matrix product: as it is, or quantized. */
export type ProductInput = Tensor | QuantizedActivations

/** Everything that a step writes, allocated once for the largest step. */
export interface Activations extends StepInputTensors {
  readonly inputs: StepInputs
  /** The residual stream, [tokens, hidden]. */
  readonly x: Tensor
  /** Normalized inputs of qkv and gate-up. */
  readonly normed: ProductInput
  readonly qkv: Tensor
  readonly q: Tensor
  /** The attention's output, and that as the input of o. */
  readonly attended: Tensor
  readonly oInput: ProductInput
  /** [tokens, 2, intermediate]: gate, then up. */
  readonly gateUp: Tensor
  readonly downInput: ProductInput
  /** Final hidden states of the rows whose logits are wanted. */
  readonly hidden: Tensor
  /** [logitRows, vocabulary]. */
  readonly logits: Tensor
  /** Bytes of all of them. */
  readonly bytes: number
  free(): void
}

/**
 * Allocates the buffers of a model's steps; `quantized` says whether matrix products take 8-bit inputs, and `mostQueries` of
 * how many query tokens the pieces are into which attention wants sequences cut.
 */
export function allocateActivations(
  device: Device,
  config: ModelConfig,
  limits: StepLimits,
  type: ActivationType,
  quantized: boolean,
  mostQueries: number,
  logits: LogitType = 'f16',
): Activations {
  const all: Tensor[] = []
  const allocate = (dtype: 'f32' | 'i32' | 'i8' | ActivationType, shape: readonly number[]): Tensor => {
    const tensor = Tensor.allocate(device, dtype, shape)
    all.push(tensor)
    return tensor
  }
  const { tokens } = limits
  const rows = limits.sequences + Math.ceil(tokens / mostQueries)
  const inputs = new StepInputs(device, limits, rows)
  const { qkv, o, gateUp, down } = layerProjections(config)
  const input = (width: number): ProductInput =>
    quantized
      ? {
          q: allocate('i8', [tokens, width]),
          scale: allocate('f32', [tokens]),
          sum: allocate('i32', [tokens]),
        }
      : allocate(type, [tokens, width])
  const attended = allocate(type, [tokens, o.k])
  // Rows without a sequence, which graphs are padded with, are quantized as well, and attention leaves them alone.
  attended.fill(0)
  return {
    inputs,
    ...inputs.tensors,
    x: allocate(type, [tokens, config.hiddenSize]),
    normed: input(config.hiddenSize),
    qkv: allocate(type, [tokens, qkv.n]),
    q: allocate(type, [tokens, o.k]),
    attended,
    oInput: quantized ? input(o.k) : attended,
    gateUp: allocate(type, [tokens, gateUp.n]),
    downInput: input(down.k),
    hidden: allocate(type, [limits.logitRows, config.hiddenSize]),
    logits: allocate(logits, [limits.logitRows, config.vocabSize]),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, inputs.bytes),
    free: () => {
      inputs.free()
      for (const tensor of all) tensor.free()
    },
  }
}
