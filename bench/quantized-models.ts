import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openCheckpoint } from '../checkpoint/open.ts'
import { quantizeCheckpoint } from '../quantize/quantize-checkpoint.ts'
import { recipes } from '../quantize/recipe.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { sharedPath } from '../test/support/shared-models.ts'

/** A W4A8KV4 checkpoint to measure with. */
export interface QuantizedModel {
  readonly name: string
  readonly folder: string
}

/**
 * The demonstration model, and the small models beside the repository where they are, quantized into `folder`.
 */
export async function quantizedModels(folder: string): Promise<QuantizedModel[]> {
  const demonstration = join(packageRoot(), 'examples/models/nano-w4a8kv4')
  const complete = existsSync(join(demonstration, 'model.safetensors'))
  const models = complete ? [{ name: 'nano', folder: demonstration }] : []
  for (const name of complete ? ['small'] : ['nano', 'small']) {
    const source = sharedPath(`models/${name}`)
    if (!source) continue
    const checkpoint = openCheckpoint(source)
    try {
      await quantizeCheckpoint(join(folder, name), checkpoint, recipes.w4a8kv4, {
        producer: 'quattuor bench',
      })
    } finally {
      checkpoint.close()
    }
    models.push({ name, folder: join(folder, name) })
  }
  return models
}
