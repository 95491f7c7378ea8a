import { existsSync } from 'node:fs'
import { checkRecipe, type Recipe, readRecipe, recipeNamed } from '../quantize/recipe.ts'
import { UsageError } from './failure.ts'

/**
 * A recipe by name, or from a file: JSON, or a TypeScript or JavaScript module that exports one as `recipe`, which may bring
 * passes of its own.
 */
export async function findRecipe(name: string): Promise<Recipe> {
  if (name.endsWith('.json')) return readRecipe(name)
  if (!/\.[mc]?[tj]s$/.test(name)) return recipeNamed(name)
  if (!existsSync(name)) throw new UsageError(`there is no recipe at ${name}; check the path`)
  const { importExports } = await import('./load-typescript.ts')
  const [module] = await importExports([name])
  if (module?.recipe === undefined)
    throw new UsageError(`${name} exports no recipe; write \`export const recipe = { name: …, … }\``)
  return checkRecipe(module.recipe, name)
}
