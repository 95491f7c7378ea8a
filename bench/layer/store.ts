import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { z } from 'zod'
import { UsageError } from '../../cli/failure.ts'
import { packageRoot } from '../../runtime/package-root.ts'
import { ceilings } from '../../runtime/tune/roofline.ts'
import { type ResultHeader, writeRows } from '../results.ts'
import { attentionSection, readAttentionRows } from './attention.ts'
import { layerPage } from './page.ts'
import { type LayerRow, layerRow, markEarlier, mergeRows } from './rows.ts'

const pathOf = (gpu: string): string => join(packageRoot(), 'bench', 'results', gpu, 'layer.json')

/** What is on file for a GPU, each row with its run; no rows where nothing is. */
function readLayerRows(gpu: string): LayerRow[] {
  const path = pathOf(gpu)
  if (!existsSync(path)) return []
  const parsed = z
    .object({ date: z.string(), commit: z.string().nullable(), rows: z.array(layerRow) })
    .safeParse(JSON.parse(readFileSync(path, 'utf8')))
  if (parsed.success) {
    const { date, commit, rows } = parsed.data
    return rows.map((row) => ({ run: { date, commit }, ...row }))
  }
  throw new UsageError(
    `${path} is no result of this bench (${z.prettifyError(parsed.error)}); remove it and measure again`,
  )
}

/** Takes rows in place of those of the same steps; writes them and the page, and returns both paths. */
export function storeLayerRows(gpu: string, header: ResultHeader, rows: readonly LayerRow[]): string[] {
  const all = markEarlier(mergeRows(readLayerRows(gpu), rows), header.date)
  writeRows(pathOf(gpu), header, all)
  return [relative(packageRoot(), pathOf(gpu)), writeLayerPage(gpu)]
}

/** Draws the page of what is on file; returns its path. Throws `UsageError` where there is nothing. */
export function writeLayerPage(gpu: string): string {
  const path = pathOf(gpu)
  const rows = readLayerRows(gpu)
  if (rows.length === 0)
    throw new UsageError(`there are no results in ${path}; measure some with npm run bench:layer`)
  const header = JSON.parse(readFileSync(path, 'utf8')) as ResultHeader
  const page = path.replace(/\.json$/, '.html')
  writeFileSync(
    page,
    layerPage(header, markEarlier(rows, header.date), ceilings[gpu], [
      attentionSection(readAttentionRows(gpu)),
    ]),
  )
  return relative(packageRoot(), page)
}
