import type { Checkpoint } from '../checkpoint/open.ts'
import type { HostTensor } from '../checkpoint/tensor.ts'
import { productTensors } from '../models/product-tensors.ts'
import { headProjection } from '../models/projections.ts'
import type { Compute, Mat } from './compute/compute.ts'
import { passSeed } from './layer-run.ts'
import { layerPrefix, loadMat } from './load-layer.ts'
import { checkWidth, floatTensor } from './quantized-tensors.ts'
import type { Recipe, RecipeStep } from './recipe.ts'

export const embeddingName = 'model.embed_tokens.weight'
const normName = 'model.norm.weight'

/** The type of everything in a result that stays in floats. */
export const storedType = ({ weights }: Recipe): 'f32' | undefined => (weights === 'f32' ? 'f32' : undefined)

const ignore = (): void => {}

/** The embedding table as the passes leave it. */
export async function loadEmbedding(
  compute: Compute,
  src: Checkpoint,
  steps: readonly RecipeStep[],
  seed: number,
): Promise<Mat> {
  const { config } = src
  const table = await loadMat(compute, src, embeddingName, [config.vocabSize, config.hiddenSize])
  for (const [i, { pass, options }] of steps.entries())
    await pass.embedding?.({ compute, config, table }, options, { seed: passSeed(seed, i), record: ignore })
  return table
}

/** The tensors of the embedding table, none where no pass changes it. */
export async function embeddingPart(
  compute: Compute,
  src: Checkpoint,
  recipe: Recipe,
  steps: readonly RecipeStep[],
  seed: number,
): Promise<HostTensor[]> {
  const stored = storedType(recipe)
  if (!stored && !steps.some(({ pass }) => pass.embedding)) return []
  const table = await loadEmbedding(compute, src, steps, seed)
  const tensor = await floatTensor(compute, src, embeddingName, table, { stored })
  table.free()
  return [tensor]
}

/** The last norm's gain and the output head of the original. */
export async function loadHead(compute: Compute, src: Checkpoint): Promise<{ norm: Mat; weight: Mat }> {
  const { n, k, parts } = headProjection(src.config)
  return {
    norm: await loadMat(compute, src, normName, [k]),
    weight: await loadMat(compute, src, `${parts[0]!.path}.weight`, [n, k]),
  }
}

/** The last norm and the output head as passes leave them; the head is one of its own then, also in a model that ties it. */
export async function headPart(
  compute: Compute,
  src: Checkpoint,
  recipe: Recipe,
  steps: readonly RecipeStep[],
  seed: number,
): Promise<HostTensor[]> {
  const { config } = src
  const stored = storedType(recipe)
  const isChanged = stored !== undefined || steps.some(({ pass }) => pass.head || pass.embedding)
  if (!isChanged && !recipe.head) return []
  const projection = headProjection(config)
  if (recipe.head) checkWidth('', projection, recipe.head)
  const sourceName = `${projection.parts[0]!.path}.weight`
  const { norm, weight } = await loadHead(compute, src)
  for (const [i, { pass, options }] of steps.entries())
    await pass.head?.({ compute, config, norm, weight }, options, { seed: passSeed(seed, i), record: ignore })
  const tensors = isChanged ? [await floatTensor(compute, src, normName, norm, { stored })] : []
  if (recipe.head) {
    const grid = await compute.fitGrid(weight, recipe.head)
    tensors.push(...productTensors(projection.path, recipe.head, [await compute.encode(weight, grid)]))
    grid.free()
  } else {
    const newName = `${projection.path}.weight`
    tensors.push(await floatTensor(compute, src, sourceName, weight, { newName, stored }))
  }
  for (const mat of [norm, weight]) mat.free()
  return tensors
}

/** The names of the tensors of a source that a quantized model has under other names. */
export function replacedTensors(
  { config }: Checkpoint,
  recipe: Recipe,
  products: readonly { readonly parts: readonly { readonly path: string }[]; readonly bias: boolean }[],
): Set<string> {
  const names = new Set<string>()
  if (storedType(recipe)) return names
  for (let index = 0; index < config.layers; index++)
    for (const { parts, bias } of products)
      for (const { path } of parts)
        for (const suffix of bias ? ['weight', 'bias'] : ['weight'])
          names.add(`${layerPrefix(index)}${path}.${suffix}`)
  if (recipe.head && !config.tieEmbeddings) names.add(`${headProjection(config).path}.weight`)
  return names
}
