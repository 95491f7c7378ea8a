import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { UsageError } from '../../cli/failure.ts'
import { type ResultHeader, writeRows } from '../results.ts'
import { benchFormats } from './formats.ts'
import { gemmPage } from './page.ts'
import { reportText, summaryText } from './report.ts'
import { type GemmRow, mergeRows, type RivalRow, readGemmRows, readRivalRows } from './rows.ts'

/** What was measured so far, ours and the rivals', and the files in which it is kept. */
export class Store {
  rows: readonly GemmRow[]
  rivals: readonly RivalRow[]
  readonly #path: string
  readonly #rivalsPath: string
  #rivalsChanged = false

  constructor(path: string, rivalsPath: string) {
    this.#path = path
    this.#rivalsPath = rivalsPath
    this.rows = readGemmRows(path)
    this.rivals = readRivalRows(rivalsPath)
  }

  /** Takes rows in place of those of the same cells. */
  add(rows: readonly GemmRow[]): void {
    const order = benchFormats.map(({ name }) => name)
    const rank = ({ format, tokens }: GemmRow) => order.indexOf(format) * 2 ** 32 + tokens
    this.rows = mergeRows(this.rows, rows).sort((a, b) => rank(a) - rank(b))
  }

  addRivals(rows: readonly RivalRow[]): void {
    this.rivals = mergeRows(this.rivals, rows)
    this.#rivalsChanged = true
  }

  /** Takes the rows of a file that a rival wrote. */
  addRivalFile(path: string): void {
    if (!existsSync(path)) throw new UsageError(`there is no file ${path}; a rival writes it with --json`)
    this.addRivals(readRivalRows(path))
  }

  /** Tables of what was measured for a number of tokens, or of all. */
  text(tokens?: number): string {
    if (tokens === undefined) return summaryText(this.rows, this.rivals)
    return reportText(
      this.rows.filter((row) => row.tokens === tokens),
      this.rivals,
    )
  }

  /** The header of the results as they are. Throws `UsageError` where there are none. */
  header(): ResultHeader {
    if (!existsSync(this.#path))
      throw new UsageError(`there are no results in ${this.#path}; measure some with npm run bench:gemm`)
    return JSON.parse(readFileSync(this.#path, 'utf8')) as ResultHeader
  }

  /** Writes rows and page; returns their paths. */
  write(header: ResultHeader): string[] {
    writeRows(this.#path, header, this.rows)
    const { device, driver, date } = header
    if (this.#rivalsChanged) writeRows(this.#rivalsPath, { device, driver, date }, this.rivals)
    return [relative(process.cwd(), this.#path), this.writePage(header)]
  }

  writePage(header: ResultHeader): string {
    const page = `${this.#path.replace(/\.json$/, '')}.html`
    writeFileSync(page, gemmPage(header, this.rows, this.rivals))
    return relative(process.cwd(), page)
  }
}
