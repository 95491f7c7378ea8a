import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Checkpoint } from '../../checkpoint/open.ts'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { headProjection, layerProjections } from '../../models/projections.ts'
import { WeightLoader } from '../../models/weight-loader.ts'
import type { ActivationType, LinearWeights } from '../../models/weights.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import { writeRandomLlama } from '../support/random-llama.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-weights-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const device = openEmulator()
test.after(() => device.close())

const contentsOf = async (tensor: Tensor | undefined) => (tensor ? [...(await tensor.read())] : undefined)

/** All that a loader makes of the weights that are there once, and of the first layer. */
async function load(checkpoint: Checkpoint, type: ActivationType, onDevice: boolean) {
  const { config } = checkpoint
  const loader = new WeightLoader(device, checkpoint, type, onDevice)
  try {
    const table = await loader.half('model.embed_tokens.weight', [config.vocabSize, config.hiddenSize])
    const products: LinearWeights[] = [await loader.head(headProjection(config))]
    for (const projection of Object.values(layerProjections(config)))
      products.push(await loader.projection(0, projection))
    await loader.finish()
    const parts = products.flatMap(({ w, bias }) => [w, bias])
    return Promise.all([table, ...parts].map(contentsOf))
  } finally {
    await loader.close()
  }
}

for (const [dtype, type] of [
  ['f16', 'f16'],
  ['bf16', 'bf16'],
  ['bf16', 'f16'],
] as const)
  test(`${dtype} weights become the same ${type} ones on the device as on the host`, async () => {
    const folder = await writeRandomLlama(join(root, `${dtype}-${type}`), {
      seed: 3,
      dtype,
      architecture: 'Qwen2ForCausalLM',
    })
    const checkpoint = openCheckpoint(folder)
    assert.equal(await load(checkpoint, type, true), await load(checkpoint, type, false))
    checkpoint.close()
  })

for (const onDevice of [true, false])
  test(`a weight that f16 cannot represent is refused ${onDevice ? 'by the device' : 'by the host'}`, async () => {
    const folder = await writeRandomLlama(join(root, `large-${onDevice}`), { seed: 4, dtype: 'bf16' })
    const checkpoint = openCheckpoint(folder)
    const { tensors } = checkpoint
    const name = 'model.layers.0.mlp.down_proj.weight'
    const spoil = (bytes: Uint8Array) => {
      // 2^100 as bf16, as the second of its elements.
      bytes[2] = 0x80
      bytes[3] = 0x71
    }
    const spoiled: Checkpoint = {
      ...checkpoint,
      tensors: {
        ...tensors,
        read: (of) => {
          const tensor = tensors.read(of)
          if (of === name) spoil(tensor.bytes)
          return tensor
        },
        readInto: (dst, of, offset) => {
          tensors.readInto(dst, of, offset)
          if (of === name && !offset) spoil(dst)
        },
      },
    }
    const refused = await load(spoiled, 'f16', onDevice).then(
      () => undefined,
      (error: Error) => error,
    )
    assert.is(refused?.name, 'CheckpointError')
    assert.match(refused!.message, /f16 cannot represent; run the model as bf16/)
    checkpoint.close()
  })

test.run()
