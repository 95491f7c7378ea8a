import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type CheckpointFormat, floatFormat, formatName } from '../checkpoint/quantized.ts'
import { codedFormat } from '../models/coded-format.ts'
import { packageRoot } from '../runtime/package-root.ts'
import { QuantizeError } from './error.ts'
import type { LayerNotes } from './layer-run.ts'
import { type StackFormat, type StackName, stacks } from './layer-state.ts'
import { passes } from './passes/index.ts'
import type { Pass } from './passes/pass.ts'
import { type QuantizedFormatName, rowGrids } from './round-to-nearest.ts'

const formatNames = Object.keys(rowGrids) as [QuantizedFormatName, ...QuantizedFormatName[]]
const stackNames = Object.keys(stacks) as [StackName, ...StackName[]]

/** Formats of an output head, beside that of the model. */
export const headFormats = ['w8a8', 'w4a8', 'w4a8-g128'] as const satisfies readonly QuantizedFormatName[]

/** A pass by name, or a pass itself in a recipe that a program makes; the other fields are its options. */
const stepSchema = z.looseObject({
  pass: z.union([
    z.string(),
    z.custom<Pass>(
      (value) => typeof value === 'object' && value !== null && 'options' in value && 'name' in value,
      'expected the name of a pass, or a pass',
    ),
  ]),
})

const recipeSchema = z.strictObject({
  name: z.string().min(1),
  about: z.string().optional(),
  /**
   * The format of all projections of all layers. `f32` writes what transforming passes leave, in floats; `bf16` rounds every
   * tensor to bf16 and runs no pass.
   */
  weights: z.enum([...formatNames, 'f32', 'bf16']),
  /** Products in another format: in these layers, or in all. Later entries win. */
  exceptions: z
    .array(
      z.strictObject({
        layers: z.array(z.int().min(0)).optional(),
        products: z.array(z.enum(stackNames)),
        weights: z.enum(formatNames),
      }),
    )
    .optional(),
  /** The format of the output head, which stays as it is unless given. */
  head: z.enum(headFormats).optional(),
  /** Bits of keys and values in the cache. */
  kv: z.literal([4, 8, 16]),
  /**
   * What a layer sees: the output of the layers before it in floats, or as they are quantized (the default); `both` keeps
   * the first beside the second, for passes that compare them.
   */
  inputs: z.enum(['float', 'quantized', 'both']).optional(),
  /** How minima of two-level groups are chosen: freely, or a whole number of steps below 0, up to 15. */
  zeros: z.enum(['integer']).optional(),
  /** How tokens count in Gram matrices: alike, or each divided by the mean square of its hidden states. */
  weighting: z.enum(['uniform', 'residual']).optional(),
  passes: z.array(stepSchema),
})

/** What is done to a model: data, so that a recipe can be stored, compared and written by a user. */
export type Recipe = z.infer<typeof recipeSchema>

/** What a recipe makes, whatever its passes. */
export type Target = Pick<Recipe, 'weights' | 'kv' | 'head'>

/** A pass of a recipe with its options, checked. */
export interface RecipeStep {
  readonly pass: Pass
  readonly options: unknown
}

const roundingRecipe = <const W extends Recipe['weights']>(name: string, weights: W, kv: 4 | 8 | 16) => ({
  name,
  weights,
  kv,
  passes: weights === 'bf16' ? [] : [{ pass: 'rtn' }],
})

/** Round-to-nearest, by the short name of the checkpoint that it makes. */
export const recipes = {
  w4a8kv4: roundingRecipe('w4a8kv4', 'w4a8', 4),
  'w4a8kv4-g128': roundingRecipe('w4a8kv4-g128', 'w4a8-g128', 4),
  'w4a8kv4-g64': roundingRecipe('w4a8kv4-g64', 'w4a8-g64', 4),
  'w4a8kv4-g32': roundingRecipe('w4a8kv4-g32', 'w4a8-g32', 4),
  'w4a16kv16-g128': roundingRecipe('w4a16kv16-g128', 'w4a16-g128', 16),
  w8a8kv8: roundingRecipe('w8a8kv8', 'w8a8', 8),
  bf16: roundingRecipe('bf16', 'bf16', 16),
} satisfies Record<string, Recipe>

const recipeFolder = (): string => join(packageRoot(), 'quantize', 'recipes')

/** The names of the recipes that come with the package, besides those of formats. */
export const recipeNames = (): string[] =>
  readdirSync(recipeFolder())
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))

/** A recipe by name: one of the package's, or round-to-nearest in a format. Throws `QuantizeError` naming those that exist. */
export function recipeNamed(name: string): Recipe {
  if (Object.hasOwn(recipes, name)) return recipes[name as keyof typeof recipes]
  const names = recipeNames()
  if (names.includes(name)) return readRecipe(join(recipeFolder(), `${name}.json`))
  throw new QuantizeError(
    `there is no recipe ${name}; there are ${names.join(', ')}, and round-to-nearest as ` +
      `${Object.keys(recipes).join(', ')}; or name a file that ends in .json or .ts`,
  )
}

/** A recipe from a JSON file. Throws `QuantizeError`. */
export function readRecipe(path: string): Recipe {
  if (!existsSync(path)) throw new QuantizeError(`there is no recipe at ${path}; check the path`)
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new QuantizeError(`${path} is no JSON: ${(error as Error).message}`)
  }
  return checkRecipe(value, path)
}

/** A recipe out of anything; `from` says where it was found. Throws `QuantizeError` with the first fault. */
export function checkRecipe(value: unknown, from: string): Recipe {
  const result = recipeSchema.safeParse(value)
  if (!result.success) {
    const issue = result.error.issues[0]!
    throw new QuantizeError(
      `${from} is no recipe: ${issue.path.join('.') || 'the whole'}: ${issue.message}; correct it`,
    )
  }
  recipeSteps(result.data)
  return result.data
}

/** The same recipe for the weights and the cache of another format. */
export function inFormat(recipe: Recipe, format: keyof typeof recipes): Recipe {
  const { weights, kv } = recipes[format]
  return { ...recipe, weights, kv }
}

/** The passes of a recipe with their options. Throws `QuantizeError` for unknown ones, and for an order that cannot work. */
export function recipeSteps(recipe: Recipe): RecipeStep[] {
  const steps = recipe.passes.map(({ pass: named, ...given }) => {
    const pass = typeof named === 'string' ? passes[named] : named
    if (!pass)
      throw new QuantizeError(
        `recipe ${recipe.name} has the pass ${named}, which does not exist; there are ${Object.keys(passes).join(', ')}`,
      )
    const result = pass.options.safeParse(given)
    if (result.success) return { pass, options: result.data }
    const issue = result.error.issues[0]!
    throw new QuantizeError(
      `recipe ${recipe.name}, pass ${pass.name}: ${issue.path.join('.') || 'its options'}: ${issue.message}; correct it`,
    )
  })
  // The others look at layers whose inputs are already those of the changed embeddings.
  const late = steps.findIndex(({ pass }, i) => pass.embedding && i > 0 && !steps[i - 1]!.pass.embedding)
  if (late >= 0)
    throw new QuantizeError(
      `recipe ${recipe.name} has ${steps[late]!.pass.name} behind ${steps[late - 1]!.pass.name}; ` +
        'what changes the embeddings comes first',
    )
  const isFloat = recipe.weights === 'bf16' || recipe.weights === 'f32'
  if (isFloat && (recipe.head || (recipe.weights === 'bf16' && steps.length > 0)))
    throw new QuantizeError(
      recipe.head
        ? `a model that stays as it is keeps its head; choose a format beside the head's ${recipe.head}`
        : `recipe ${recipe.name} rounds to bf16, which runs no passes; leave them out`,
    )
  return steps
}

/** The format of a product of a layer under a recipe. */
export function productFormat(recipe: Recipe, layer: number, product: StackName): StackFormat {
  if (recipe.weights === 'f32') return 'w16'
  const exception = recipe.exceptions?.findLast(
    ({ layers, products }) => products.includes(product) && (layers?.includes(layer) ?? true),
  )
  return exception?.weights ?? (recipe.weights as QuantizedFormatName)
}

/** The description that a checkpoint made by a recipe carries; what passes decide is left out. */
export function formatOf(
  recipe: Target,
  keys: LayerNotes['keys'] = { mean: false, hadamard: false },
): CheckpointFormat {
  const kv = {
    ...{ bits: recipe.kv, keyMean: keys.mean, keyHadamard: keys.hadamard },
    ...(keys.clip !== undefined && { clip: keys.clip }),
  }
  if (recipe.weights === 'bf16') return floatFormat('bf16')
  if (recipe.weights === 'f32') {
    const floats = floatFormat('f32')
    return recipe.kv === 16 ? floats : { ...floats, name: formatName({ ...floats, kv }), kv }
  }
  return codedFormat(recipe.weights, kv, recipe.head)
}
