import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import { copyCompanionFiles, describeFormat, weightsFileName } from '../checkpoint/quantized.ts'
import { SafetensorsWriter } from '../checkpoint/safetensors-writer.ts'
import type { DType } from '../dsl/dtype.ts'
import { halfBits } from '../models/weights.ts'
import { bytesOf } from '../runtime/bytes.ts'
import { checkApart, checkNew } from './destination.ts'
import { QuantizeError } from './error.ts'

export interface ConvertOptions {
  /** The program's name and version, for the metadata. */
  readonly producer: string
  /** Called with the bytes written so far and in all. */
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Writes what another program has quantized, opened with `openModel`, as a checkpoint of ours: the same codes in the order of
 * the kernels, so that loading has nothing left to do. Projections that no kernel takes as codes become 16-bit floats of the
 * embeddings' type. The weights file appears when it is complete. Returns its tensors' bytes. Throws `QuantizeError` or
 * `CheckpointError`.
 */
export async function convertCheckpoint(
  dst: string,
  src: Checkpoint,
  { producer, onProgress = () => {} }: ConvertOptions,
): Promise<number> {
  checkApart(dst, src)
  checkNew(dst, weightsFileName)
  if (!src.foreign)
    throw new QuantizeError(
      `${src.folder} is a checkpoint of ${src.format.weights.bits < 16 ? 'Quattuor' : 'floats'} already; there is nothing to convert`,
    )
  const isCoded = src.format.weights.bits < 16
  const float = src.format.name === 'bf16' ? 'bf16' : 'f16'
  const plans = src.tensors.names.map((name) => {
    const { dtype, shape } = src.tensors.info(name)
    return { name, dtype: dtype === 'f32' && !isCoded ? float : (dtype as DType), shape }
  })
  copyCompanionFiles(dst, src.folder)
  dropSettings(dst)
  let total = 0
  const writer = await SafetensorsWriter.create(join(dst, weightsFileName), plans, {
    metadata: isCoded ? describeFormat(src.format, producer) : new Map(),
    onProgress(done, all) {
      total = all
      onProgress(done, all)
    },
  })
  try {
    for (const { name, dtype } of plans) {
      const tensor = src.tensors.read(name)
      await writer.write(name, tensor.dtype === dtype ? tensor.bytes : bytesOf(halfBits(tensor, float)))
    }
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  return total
}

/** The result describes itself; other programs' settings would contradict it. */
function dropSettings(dst: string): void {
  const path = join(dst, 'config.json')
  const { quantization_config, compression_config, ...config } = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, `${JSON.stringify(config, null, 2)}\n`)
}
