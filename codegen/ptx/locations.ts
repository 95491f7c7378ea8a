import type { Location } from '../ir/op.ts'

/**
 * `.loc` lines: each instruction carries its TypeScript position, and that of the calls it was inlined at.
 *
 *     .loc 1 20 7, function_name $name0, inlined_at 1 12 3
 *
 * The position of a call must have stood in an earlier `.loc`, or ptxas refuses the line; so `lines` gives the call's
 * own `.loc` first when it has not.
 */
export class Locations {
  readonly #files = new Map<string, number>()
  readonly #names = new Map<string, string>()
  readonly #keys = new Map<Location, string>()
  readonly #seen = new Set<string>()
  #current = ''

  /** The lines to put before an instruction at `location`: none while the position stays the same. */
  lines(location: Location): string[] {
    const key = this.#key(location)
    if (key === this.#current) return []
    this.#current = key
    return [...this.#callers(location), this.#line(location)]
  }

  get inlines(): boolean {
    return this.#names.size > 0
  }

  get files(): string[] {
    return [...this.#files.keys()]
  }

  /** The `.file` lines and the section of function names, which close a module. */
  trailer(): string[] {
    const files = this.files.map(
      (path, i) => `.file ${i + 1} "${path.replaceAll('\\', '/').replaceAll('"', '')}"`,
    )
    if (!this.inlines) return files
    const strings = [...this.#names].map(
      ([name, label]) => `${label}:\n  .b8 ${[...Buffer.from(name), 0].join(',')}`,
    )
    return [...files, '.section .debug_str {', ...strings, '}']
  }

  #callers(location: Location): string[] {
    const at = location.inlined?.at
    if (!at || this.#seen.has(this.#key(at))) return []
    return [...this.#callers(at), this.#line(at)]
  }

  #line(location: Location): string {
    this.#seen.add(this.#key(location))
    const own = `  .loc ${this.#position(location)}`
    if (!location.inlined) return own
    const { callee, at } = location.inlined
    let label = this.#names.get(callee)
    if (label === undefined) {
      label = `$name${this.#names.size}`
      this.#names.set(callee, label)
    }
    return `${own}, function_name ${label}, inlined_at ${this.#position(at)}`
  }

  #position({ file, line, column }: Location): string {
    let number = this.#files.get(file)
    if (number === undefined) {
      number = this.#files.size + 1
      this.#files.set(file, number)
    }
    return `${number} ${line} ${column}`
  }

  #key(location: Location): string {
    let key = this.#keys.get(location)
    if (key === undefined) {
      const { file, line, column, inlined } = location
      key = `${file}:${line}:${column}${inlined ? `<${inlined.callee}<${this.#key(inlined.at)}` : ''}`
      this.#keys.set(location, key)
    }
    return key
  }
}
