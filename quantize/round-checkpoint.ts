import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import { copyCompanionFiles, weightsFileName } from '../checkpoint/quantized.ts'
import { SafetensorsWriter } from '../checkpoint/safetensors-writer.ts'
import { halfBits } from '../models/weights.ts'
import { bytesOf } from '../runtime/bytes.ts'
import type { QuantizeOptions, QuantizeResult } from './quantize-checkpoint.ts'

/** Writes a checkpoint with every tensor rounded to bf16. */
export async function roundCheckpoint(
  dst: string,
  src: Checkpoint,
  { onProgress }: Pick<QuantizeOptions, 'onProgress'>,
): Promise<QuantizeResult> {
  const { names } = src.tensors
  let bytes = 0
  copyCompanionFiles(dst, src.folder)
  const writer = await SafetensorsWriter.create(
    join(dst, weightsFileName),
    names.map((name) => ({ name, dtype: 'bf16', shape: src.tensors.info(name).shape })),
    {
      onProgress(done, total) {
        bytes = done
        onProgress?.(done, total, 'rounding')
      },
    },
  )
  try {
    for (const name of names) await writer.write(name, bytesOf(halfBits(src.tensors.read(name), 'bf16')))
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  return { bytes, layers: [] }
}
