import type { Instruction } from '../../ir/op.ts'
import type { Region } from './emitter.ts'
import type { ScalarType, Value, Variable } from './values.ts'

/** Reads of a cell in a run-time loop, which must be redirected if the loop turns out to assign it. */
export interface Reads {
  readonly loop: Region
  readonly moves: Instruction[]
}

/** A place that holds a value: a variable, an array's element, an object's field. */
export interface Cell {
  slot: Value | Variable
  /** The run-time region that the cell was made in. */
  readonly region: Region
  reads: Reads | undefined
  /** Whether anything assigns it: others need no care. */
  readonly mutable: boolean
  /** The device type that the source declares for it. */
  readonly declared: ScalarType | undefined
  readonly name: string
}

/** Names of one block or function call, within those of the enclosing ones. */
export class Scope {
  readonly parent: Scope | undefined
  readonly #cells = new Map<string, Cell>()

  constructor(parent?: Scope) {
    this.parent = parent
  }

  declare(cell: Cell): void {
    this.#cells.set(cell.name, cell)
  }

  find(name: string): Cell | undefined {
    let at: Scope | undefined = this
    while (at) {
      const cell = at.#cells.get(name)
      if (cell) return cell
      at = at.parent
    }
    return undefined
  }

  /** A scope beside this one with the same values in variables of its own. */
  copy(): Scope {
    const copy = new Scope(this.parent)
    for (const cell of this.#cells.values()) copy.declare({ ...cell })
    return copy
  }

  /** All names in reach, innermost first. */
  *cells(): Iterable<Cell> {
    let at: Scope | undefined = this
    while (at) {
      yield* at.#cells.values()
      at = at.parent
    }
  }
}
