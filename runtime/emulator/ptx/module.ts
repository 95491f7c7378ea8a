import type { Form } from './forms.ts'

/** A parsed PTX module: what the emulator knows before it translates a kernel. */
export interface PtxModule {
  readonly version: string
  readonly target: string
  readonly kernels: readonly Kernel[]
}

export interface Kernel {
  readonly name: string
  readonly params: readonly KernelParam[]
  /** Bytes of the whole parameter block. */
  readonly paramBytes: number
  readonly registers: readonly Register[]
  /** Static `.shared` variables, laid out from offset 0; the dynamic window follows. */
  readonly sharedVariables: readonly SharedVariable[]
  readonly staticSharedBytes: number
  /** `.reqntid`, or `.maxntid` as the upper bound of each extent. */
  readonly requiredThreads: readonly [number, number, number] | undefined
  /** Whether `requiredThreads` comes from `.reqntid`. */
  readonly exactThreads: boolean
  /** CTAs of a cluster along each axis: `.reqnctapercluster`; ones without it. */
  readonly cluster: readonly [number, number, number]
  readonly instructions: readonly Instruction[]
  /** Label to the index of the instruction that follows it. */
  readonly labels: ReadonlyMap<string, number>
}

export interface KernelParam {
  readonly name: string
  readonly offset: number
  readonly bytes: number
  readonly type: string
}

export interface SharedVariable {
  readonly name: string
  /** Offset from the start of the CTA's shared memory. */
  readonly offset: number
  /** 0 for the dynamic window (`.extern .shared … smem[]`). */
  readonly bytes: number
  readonly align: number
}

/** The register classes that the emulator keeps apart; `.f16x2` and the like are bit patterns. */
export type RegisterType = 'pred' | 'b16' | 'b32' | 'b64' | 'f32' | 'f64'

export interface Register {
  readonly id: number
  readonly name: string
  readonly type: RegisterType
}

export type Operand =
  | RegisterOperand
  | IntegerOperand
  | FloatOperand
  | SpecialOperand
  | SymbolOperand
  | AddressOperand
  | VectorOperand
  | LabelOperand
  | SinkOperand

export interface RegisterOperand {
  readonly kind: 'register'
  readonly register: Register
  /** `!%p`. */
  readonly negated: boolean
}
export interface IntegerOperand {
  readonly kind: 'integer'
  readonly value: bigint
}
export interface FloatOperand {
  readonly kind: 'float'
  readonly value: number
  /** As an f32; keeps the payload of a NaN, which `value` may lose. */
  readonly bits: number
}
/** `%tid.x`, `%laneid`, … */
export interface SpecialOperand {
  readonly kind: 'special'
  readonly name: string
}
/** The address of a shared variable or the name of a parameter. */
export interface SymbolOperand {
  readonly kind: 'symbol'
  readonly name: string
  readonly offset: number
}
/** `[base+offset]`, or a place in a tensor: `[base, {column, row}]`. */
export interface AddressOperand {
  readonly kind: 'address'
  readonly base: RegisterOperand | SymbolOperand | IntegerOperand
  readonly offset: number
  /** Innermost first; absent where the operand is a plain address. */
  readonly coordinates?: readonly Operand[]
}
export interface VectorOperand {
  readonly kind: 'vector'
  readonly elements: readonly Operand[]
}
export interface LabelOperand {
  readonly kind: 'label'
  readonly name: string
}
/** `_`: a result that nobody wants. */
export interface SinkOperand {
  readonly kind: 'sink'
}

/** A position in the kernel's TypeScript source, as `.loc` tells it. */
export interface SourceLocation {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly inlinedAt: SourceLocation | undefined
}

export interface Instruction {
  readonly index: number
  readonly op: string
  /** With its modifiers, as the text spells it: `ld.global.v4.b32`. */
  readonly opcode: string
  readonly form: Form
  /** The modifiers by the names of the form's slots; a flag such as `.ftz` maps to its own name. */
  readonly modifiers: Readonly<Record<string, string | undefined>>
  readonly guard: RegisterOperand | undefined
  /** In the order of the form's operands; an absent optional operand is `undefined`. */
  readonly operands: readonly (Operand | undefined)[]
  /** The text up to `;` for messages. */
  readonly text: string
  /** One-based line of the PTX text. */
  readonly line: number
  readonly location: SourceLocation | undefined
}
