import { Bug } from '../diagnostics.ts'
import type { Location, Operand, Register } from '../ir/op.ts'
import { Refusal } from '../ir/refusal.ts'
import type { Target } from '../target.ts'
import { type IsaEntry, isa, versionOfInlinedLocations, versionOfTarget } from './isa.ts'
import { Locations } from './locations.ts'
import { Registers } from './registers.ts'

/** Collects the lines of one kernel, and the `.version` that they need. */
export class Writer {
  readonly target: Target
  readonly registers = new Registers()
  readonly locations = new Locations()
  readonly lines: string[] = []
  /** `@%p1 ` or `@!%p1 ` in front of the instructions that follow. */
  guard = ''
  #version: number
  #location: Location | undefined
  #labels = 0

  constructor(target: Target) {
    this.target = target
    this.#version = versionOfTarget[target.name]
  }

  /** Where the instructions that follow come from. */
  at(location: Location): void {
    this.#location = location
    this.lines.push(...this.locations.lines(location))
  }

  /** One instruction of the table in `isa.ts`; throws a diagnostic when the target has none such. */
  line(mnemonic: string, ...operands: readonly string[]): void {
    const [fewest, most] = this.need(mnemonic).operands
    if (operands.length < fewest || operands.length > most)
      throw new Bug(`${mnemonic} with ${operands.length} operands`)
    this.lines.push(`  ${this.guard}${mnemonic}${operands.length > 0 ? ' ' : ''}${operands.join(', ')};`)
  }

  /** What the table has under a name; throws a diagnostic when the target has none such. */
  need(name: string): IsaEntry {
    const entry = isa.get(name)
    if (!entry) throw new Bug(`no ${name} in the table of what is emitted`)
    if (this.target.capability < entry.capability)
      throw new Refusal(
        'E0604',
        `${name} needs compute capability ${(entry.capability / 10).toFixed(1)}, and ${this.target.name} has ` +
          `${(this.target.capability / 10).toFixed(1)}`,
        { location: this.#location, help: 'compile for a newer target, or branch on target.capability' },
      )
    if (entry.last !== undefined && this.target.capability > entry.last)
      throw new Refusal(
        'E0604',
        `${name} is an instruction of compute capability ${(entry.last / 10).toFixed(1)} alone, and ` +
          `${this.target.name} has ${(this.target.capability / 10).toFixed(1)}`,
        { location: this.#location, help: 'compile for sm_90a, or branch on target.capability' },
      )
    this.#version = Math.max(this.#version, entry.version)
    return entry
  }

  label(name: string): void {
    this.lines.push(`${name}:`)
  }

  /** Tells ptxas something of the block that begins here. */
  pragma(text: string): void {
    this.lines.push(`  .pragma "${text}";`)
  }

  /** A fresh number, for the labels of one structure. */
  nextLabel(): number {
    return ++this.#labels
  }

  name(register: Register): string {
    return this.registers.name(register)
  }
  operand(operand: Operand): string {
    return this.registers.operand(operand)
  }
  inRegister(operand: Operand): string {
    return this.registers.inRegister(operand)
  }

  /** The lowest `.version` for everything written so far: `7.2`. */
  version(): string {
    const version = Math.max(this.#version, this.locations.inlines ? versionOfInlinedLocations : 0)
    return `${Math.floor(version / 10)}.${version % 10}`
  }
}
