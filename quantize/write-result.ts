import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Checkpoint } from '../checkpoint/open.ts'
import {
  type CheckpointFormat,
  describeFormat,
  type NamedFormat,
  weightsFileName,
} from '../checkpoint/quantized.ts'
import { SafetensorsWriter, type TensorPlan } from '../checkpoint/safetensors-writer.ts'
import { weightFormats } from '../kernels/formats/index.ts'
import { headProjection, layerProjections } from '../models/projections.ts'
import { replacedTensors, storedType } from './ends.ts'
import { QuantizeError } from './error.ts'
import type { LayerNotes } from './layer-run.ts'
import type { StackName } from './layer-state.ts'
import { layerPrefix } from './load-layer.ts'
import type { QuantizeResult } from './quantize-checkpoint.ts'
import { copiedType } from './quantized-tensors.ts'
import { formatOf, type Recipe } from './recipe.ts'
import type { RunState } from './resume.ts'

/** The part of a layer in a run's state. */
export const layerPart = (index: number): string => `layer-${index}`

/** Puts the finished parts of a run, and the tensors of the source that no part replaces, into one weights file. */
export async function writeResult(
  dst: string,
  src: Checkpoint,
  recipe: Recipe,
  state: RunState,
  producer: string,
): Promise<QuantizeResult> {
  const layerParts = layerPartsOf(src)
  const layers = notesOf(src, state)
  const parts = ['embedding', ...layerParts, 'head']
  const made = new Map(parts.map((part) => [part, state.plans(part)]))
  const names = new Set([...made.values()].flat().map(({ name }) => name))
  const replaced = replacedTensors(src, recipe, Object.values(layerProjections(src.config)))
  const copied: TensorPlan[] = src.tensors.names
    .filter((name) => !replaced.has(name) && !names.has(name))
    .map((name) => ({ name, dtype: copiedType(src, name), shape: src.tensors.info(name).shape }))
  const writer = await SafetensorsWriter.create(
    join(dst, weightsFileName),
    [...[...made.values()].flat(), ...copied],
    {
      // Element types describe a checkpoint in floats.
      metadata:
        storedType(recipe) && recipe.kv === 16
          ? new Map()
          : describeFormat(resultFormat(src, recipe, layers), producer),
    },
  )
  try {
    for (const part of parts)
      for (const tensor of state.read(part)) await writer.write(tensor.name, tensor.bytes)
    for (const { name } of copied) await writer.write(name, src.tensors.read(name).bytes)
    if (src.config.tieEmbeddings && names.has(`${headProjection(src.config).path}.weight`)) untie(dst)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  return finishedResult(dst, src, state)
}

const layerPartsOf = ({ config }: Checkpoint): string[] =>
  Array.from({ length: config.layers }, (_, index) => layerPart(index))

const notesOf = (src: Checkpoint, state: RunState): LayerNotes[] =>
  layerPartsOf(src).map((part) => state.notes(part) as LayerNotes)

/** What a run tells whose weights file is complete. */
export const finishedResult = (dst: string, src: Checkpoint, state: RunState): QuantizeResult => ({
  bytes: statSync(join(dst, weightsFileName)).size,
  layers: notesOf(src, state),
})

/** The format of the result: that of the recipe, and what passes have decided. */
function resultFormat(
  { config }: Checkpoint,
  recipe: Recipe,
  layers: readonly LayerNotes[],
): CheckpointFormat {
  const [first] = layers as readonly [LayerNotes]
  const { mean, hadamard, clip } = first.keys
  if (layers.some(({ keys }) => keys.mean !== mean || keys.hadamard !== hadamard || keys.clip !== clip))
    throw new QuantizeError(
      'a pass transforms the keys of some layers and not of others; let it do all or none',
    )
  const products = layerProjections(config)
  const exceptions: Record<string, NamedFormat> = {}
  for (const { layer, formats } of layers)
    for (const [product, format] of Object.entries(formats) as [
      StackName,
      LayerNotes['formats'][StackName],
    ][])
      if (format !== recipe.weights && format !== 'w16')
        exceptions[layerPrefix(layer) + products[product].path] = {
          format,
          layout: weightFormats[format].tag,
        }
  return {
    ...formatOf(recipe, first.keys),
    ...(Object.keys(exceptions).length > 0 && { exceptions }),
  }
}

/** Says in the result's configuration that embeddings and output head are two. */
function untie(dst: string): void {
  const path = join(dst, 'config.json')
  const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  writeFileSync(path, `${JSON.stringify({ ...config, tie_word_embeddings: false }, null, 2)}\n`)
}
