/**
 * The typed IR between the frontend and PTX: virtual registers in structured control flow.
 *
 * Registers are mutable. A register written once is a *temporary*, and the optimising passes reason about those alone;
 * one written several times is a variable of the source (a `let`, an element of `regs`). `spec.ts` states what each
 * instruction takes and gives, and verifies a function after every pass.
 */

/**
 * Types of registers. `address` is a 64-bit global address; an address in shared memory is a `u32` offset from the
 * CTA's window. `u64` is bits that the hardware reads: a matrix descriptor, a cache policy. 8-bit types live in 16-bit
 * registers between a load and a conversion.
 */
export type ValueType =
  | 'bool'
  | 'i8'
  | 'u8'
  | 'f16'
  | 'bf16'
  | 'i32'
  | 'u32'
  | 'f32'
  | 'f16x2'
  | 'bf16x2'
  | 'address'
  | 'u64'

export interface Register {
  readonly kind: 'register'
  readonly id: number
  readonly type: ValueType
}

export interface Immediate {
  readonly kind: 'immediate'
  readonly type: ValueType
  /** Integers exactly; floats as the nearest value of the type; `bool` as 0 or 1. */
  readonly value: number
}

export type Operand = Register | Immediate

/** Where an instruction comes from: a source position, and the call it was inlined at. */
export interface Location {
  readonly file: string
  /** One-based. */
  readonly line: number
  readonly column: number
  readonly inlined?: { readonly callee: string; readonly at: Location }
}

/** Instructions without control flow. Attributes are static: see `spec.ts` for those of each operation. */
export interface Instruction {
  readonly kind: 'instruction'
  readonly op: string
  readonly results: readonly Register[]
  readonly args: readonly Operand[]
  readonly attributes: Attributes
  readonly location: Location
}

export type Attributes = Readonly<Record<string, string | number | boolean>>

export interface If {
  readonly kind: 'if'
  readonly condition: Operand
  readonly body: Block
  readonly otherwise: Block
  readonly location: Location
}

/**
 * Repeats `body` then `step` until a `break`. `continue` goes to `step`. A `for (const i of range(n))` is
 * `i = 0; loop { body: [if (i >= n) break; …], step: [i += 1] }`.
 */
export interface Loop {
  readonly kind: 'loop'
  readonly body: Block
  readonly step: Block
  readonly location: Location
}

export interface Jump {
  readonly kind: 'break' | 'continue' | 'return'
  readonly location: Location
}

export type Node = Instruction | If | Loop | Jump
export type Block = Node[]

/** A tile in shared memory; offsets are given by the allocation pass. */
export interface SharedVariable {
  readonly id: number
  readonly name: string
  readonly bytes: number
  readonly align: number
  readonly location: Location
}

/** Types of parameters; a tensor map is 128 bytes, whose address `tensorMap` gives. */
export type ParamType = 'address' | 'i32' | 'u32' | 'f32' | 'tensorMap'

/** A kernel before printing. `params` mirror `Program.params`; parameter `i` is read by the instruction `param` with attribute `index: i`. */
export interface KernelIr {
  readonly name: string
  readonly params: readonly { readonly name: string; readonly type: ParamType }[]
  readonly shared: readonly SharedVariable[]
  readonly body: Block
  readonly block: readonly [number, number, number]
  readonly maxRegisters?: number
  readonly blocksPerMultiprocessor?: number
  /** CTAs of a cluster, neighbours along x. */
  readonly cluster?: number
}
