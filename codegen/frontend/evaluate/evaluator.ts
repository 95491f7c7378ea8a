import type { DiagnosticDetails, InlinedCall } from '../../diagnostics.ts'
import { Diagnostic } from '../../diagnostics.ts'
import type { ErrorCode } from '../../error-codes.ts'
import type { Config } from '../../program.ts'
import { suggestion } from '../../suggest.ts'
import type { Target } from '../../target.ts'
import type { Definition, Module, Modules } from '../names.ts'
import type { Expression, FunctionNode, Span, Spread, Statement } from '../syntax.ts'
import { textOf } from '../syntax.ts'
import type { InlineFrame, Region } from './emitter.ts'
import { Emitter } from './emitter.ts'
import { evaluate } from './expressions.ts'
import { mentioned } from './mentioned.ts'
import { Scope } from './scope.ts'
import { execute } from './statements.ts'
import { TensorMaps } from './tensor-maps.ts'
import type { Value } from './values.ts'
import { BuiltinObject, Closure, Computed, DeviceValue, holdsDevice } from './values.ts'

/** Where `break` and `continue` go. */
export interface JumpTarget {
  readonly kind: 'loop' | 'unrolled' | 'switch'
  /** The region in which a static jump may stand; for a run-time loop, its body. */
  readonly region: Region
}

/** One function being evaluated: the kernel, or a call inlined in it. */
export interface Frame {
  readonly function: FunctionNode | undefined
  readonly module: Module
  readonly inline: InlineFrame | undefined
  readonly isKernel: boolean
  readonly targets: JumpTarget[]
  /** The region in which a `return` may stand. */
  returnRegion: Region
  readonly depth: number
  scope: Scope
  statement: Statement | undefined
}

/** What one unrolled loop cost. */
export interface UnrollCost {
  readonly span: Span
  iterations: number
  instructions: number
}

/** Limits that stop runaway compilations. */
export const limits = {
  /** Instructions of one kernel, before the passes. */
  instructions: 150_000,
  /** Expressions and statements evaluated. */
  steps: 10_000_000,
  /** Calls inlined within each other. */
  depth: 120,
} as const

/** Evaluates one kernel for one configuration: static code runs, device code is emitted. */
export class Evaluator {
  readonly emitter: Emitter
  readonly modules: Modules
  readonly config: Config
  readonly target: Target
  readonly block: readonly [number, number, number]
  /** CTAs of a cluster. */
  readonly cluster: number
  readonly tensorMaps = new TensorMaps()
  readonly unrolls = new Map<Span, UnrollCost>()
  frame: Frame
  /** The kernel's arguments, and the names of optional ones that this configuration leaves out. */
  args: object | undefined
  absentArgs: ReadonlySet<string> = new Set()
  /** Constants that the configuration's type marks as optional; undefined if it has no known type. */
  optionalConstants: ReadonlySet<string> | undefined
  #steps = 0
  readonly #moduleValues = new Map<Module, Map<string, Value>>()
  readonly #builtins: ReadonlyMap<string, Value>
  readonly #globals: ReadonlyMap<string, Value>

  constructor(options: {
    readonly modules: Modules
    readonly module: Module
    readonly config: Config
    readonly target: Target
    readonly block: readonly [number, number, number]
    readonly cluster: number
    /** Names of the language, and those of JavaScript that it knows. */
    readonly builtins: ReadonlyMap<string, Value>
    readonly globals: ReadonlyMap<string, Value>
  }) {
    this.modules = options.modules
    this.config = options.config
    this.target = options.target
    this.block = options.block
    this.cluster = options.cluster
    this.#builtins = options.builtins
    this.#globals = options.globals
    this.emitter = new Emitter(limits.instructions, () => {
      throw this.#overBudget()
    })
    this.frame = this.rootFrame(options.module)
  }

  rootFrame(module: Module): Frame {
    return {
      function: undefined,
      module,
      inline: undefined,
      isKernel: true,
      targets: [],
      returnRegion: this.emitter.region,
      depth: 0,
      scope: new Scope(),
      statement: undefined,
    }
  }

  /** The value of an expression, which later assignments do not change. */
  evaluate(node: Expression, scope: Scope): Value {
    this.step(node)
    return evaluate(this, node, scope, false)
  }

  /** The value of an expression for use before anything else is evaluated. */
  direct(node: Expression, scope: Scope): Value {
    this.step(node)
    return evaluate(this, node, scope, true)
  }

  execute(statement: Statement, scope: Scope): ReturnType<typeof execute> {
    this.step(statement)
    this.frame.scope = scope
    this.frame.statement = statement
    return execute(this, statement, scope)
  }

  step(node: Expression | Statement): void {
    if (++this.#steps <= limits.steps) return
    const [busiest] = [...this.unrolls.values()].sort((a, b) => b.iterations - a.iterations)
    throw this.error('E0302', 'this does not end while compiling', busiest ?? node, {
      help: 'a loop over static values must end; use range(…) for a run-time loop',
    })
  }

  at(node: { readonly span: Span }): void {
    this.emitter.at(node.span, this.frame.inline)
  }

  text(node: { readonly span: Span }): string {
    return textOf(node).replace(/\s+/g, ' ')
  }

  /** A diagnostic at a node, with the static values in force and the chain of calls. */
  error(
    code: ErrorCode,
    message: string,
    node: { readonly span: Span },
    details: DiagnosticDetails = {},
  ): Diagnostic {
    return new Diagnostic(code, message, { span: node.span, ...this.context(node), ...details })
  }

  context(node: { readonly span: Span }): DiagnosticDetails {
    const calls: InlinedCall[] = []
    for (let at = this.frame.inline; at; at = at.parent) calls.push({ callee: at.callee, span: at.at })
    return { calls, values: mentioned(this, node) }
  }

  /** A name of the language: `range`, `f32`, `threadIdx`. */
  builtin(name: string): Value {
    return this.#builtins.get(name)
  }

  globalNames(): Iterable<string> {
    return this.#globals.keys()
  }

  /** A global name of JavaScript: `Math`, `Array`; undefined if the language does not know it. */
  global(name: string): Value {
    return this.#globals.get(name)
  }

  /** The value of a name of a module; `node` is blamed if it has none in kernels. */
  moduleValue(definition: Definition, node: Expression | Spread): Value {
    switch (definition.kind) {
      case 'native':
        return this.#builtins.get(`native:${nativeName(definition.value)}`) ?? definition.value
      case 'language': {
        const value = this.#builtins.get(definition.name)
        if (value === undefined) {
          throw this.error('E0007', `'${definition.name}' does not exist inside a kernel`, node, {
            help: suggestion(definition.name, this.#builtins.keys()),
          })
        }
        return value instanceof Computed ? value.value(this) : value
      }
      case 'namespace': {
        const { module } = definition
        return new BuiltinObject('the module', [], (ev, name) => {
          const found = ev.modules.exported(module, name)
          if (!found) throw ev.error('E0006', `'${name}' is not exported by ${module.path}`, node, {})
          return ev.moduleValue(found, node)
        })
      }
      case 'declaration':
        return this.#declaration(definition, node)
    }
  }

  #declaration(definition: Definition & { kind: 'declaration' }, node: Expression | Spread): Value {
    const { module, name, statement } = definition
    let values = this.#moduleValues.get(module)
    if (!values) {
      values = new Map()
      this.#moduleValues.set(module, values)
    }
    if (values.has(name)) {
      const value = values.get(name)
      if (value !== inProgress) return value
      throw this.error('E0009', `'${name}' is defined by itself`, node, {})
    }
    values.set(name, inProgress)
    const value =
      statement.kind === 'functionDeclaration'
        ? new Closure(statement.function, new Scope(), module)
        : this.#moduleConstant(module, name, statement)
    values.set(name, value)
    return value
  }

  /** Evaluates a top-level statement on its own: it must be static. */
  #moduleConstant(module: Module, name: string, statement: Statement): Value {
    const outer = this.frame
    const { count } = this.emitter
    this.frame = { ...this.rootFrame(module), inline: outer.inline, returnRegion: this.emitter.region }
    const scope = new Scope()
    try {
      this.execute(statement, scope)
      const value = scope.find(name)?.slot
      if (holdsDevice(value) || this.emitter.count !== count) {
        throw this.error('E0008', `'${name}' is a run-time value outside a kernel`, statement, {
          help: 'compute it in the kernel, or make it a function that kernels call',
        })
      }
      return value
    } finally {
      this.frame = outer
    }
  }

  #overBudget(): Diagnostic {
    const largest = [...this.unrolls.values()].sort((a, b) => b.instructions - a.instructions).slice(0, 3)
    const node = largest[0] ?? this.frame.statement ?? { span: this.frame.module.file!.statements[0]!.span }
    return this.error('E0301', `the kernel grows past ${limits.instructions} instructions`, node, {
      notes: largest.map((cost) => ({
        message: `${cost.instructions} instructions from ${cost.iterations} unrolled iterations`,
        span: cost.span,
      })),
      help: 'make the largest of these loops run-time loops: for (const i of range(n))',
    })
  }
}

const inProgress = Symbol('in progress')

const nativeName = (value: unknown): string => (typeof value === 'function' ? value.name : '')

const isName = (node: Expression): boolean => ['identifier', 'member', 'call'].includes(node.kind)

/** The boolean of a condition if it is static, else the device value. */
export function conditionOf(ev: Evaluator, value: Value, node: Expression): boolean | DeviceValue {
  if (!(value instanceof DeviceValue)) return Boolean(value)
  if (value.type !== 'bool') {
    throw ev.error('E0107', `a condition is a boolean, not ${value.type}`, node, {
      help: `compare it: ${isName(node) ? ev.text(node) : `(${ev.text(node)})`} !== 0`,
    })
  }
  return value.operand.kind === 'immediate' ? value.operand.value !== 0 : value
}
