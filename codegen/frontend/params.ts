import type { DType } from '../../dsl/dtype.ts'
import { dtypeBytes } from '../../dsl/dtype.ts'
import { Diagnostic } from '../diagnostics.ts'
import type { ParamType } from '../ir/op.ts'
import type { Config, Param } from '../program.ts'
import type { Module, Modules } from './names.ts'
import type { FunctionNode, Span, TypeMember, TypeNode } from './syntax.ts'

/** What a kernel's parameters `a` and `c` declare, read from their types for one configuration. */

export type DeclaredParam =
  | {
      readonly kind: 'tensor'
      readonly name: string
      readonly dtype: DType
      readonly shape: readonly (string | number)[]
      readonly words: readonly string[]
      readonly tag: string
      readonly access: 'in' | 'out' | 'inout'
    }
  | { readonly kind: 'scalar'; readonly name: string; readonly dtype: 'f32' | 'i32' | 'u32' }

export interface Signature {
  readonly params: readonly DeclaredParam[]
  /** Optional arguments that this configuration leaves out. */
  readonly absent: ReadonlySet<string>
  /** Shape words without a number in the configuration: run-time extents, in order of appearance. */
  readonly dims: readonly string[]
  /** Constants that the type of `c` marks as optional; undefined if its type is not declared. */
  readonly optionalConstants: ReadonlySet<string> | undefined
}

interface Typed {
  readonly type: TypeNode
  readonly module: Module
}

/** Reads a kernel's signature. Throws `Diagnostic` where a type cannot be an argument of a kernel. */
export function signatureOf(body: FunctionNode, module: Module, modules: Modules, config: Config): Signature {
  const reader = new SignatureReader(modules, config)
  const [a, c] = body.params
  const declared = a?.type ? reader.members({ type: a.type, module }) : []
  if (a?.type && !declared) {
    throw new Diagnostic('E0409', "the type of a kernel's arguments must list them", {
      span: a.type.span,
      help: "a: { x: In<f32, 'N'>; out: Out<f32, 'N'> }",
    })
  }
  const params: DeclaredParam[] = []
  const absent = new Set<string>()
  for (const { member, module: from } of declared ?? []) {
    if (member.optional && config[member.name] !== true) absent.add(member.name)
    else params.push(reader.param(member, from))
  }
  const dims = new Set<string>()
  for (const p of params) {
    if (p.kind === 'tensor') for (const extent of p.shape) if (typeof extent === 'string') dims.add(extent)
  }
  const optional = c?.type && reader.optional({ type: c.type, module })
  return { params, absent, dims: [...dims], optionalConstants: optional && new Set(optional) }
}

const accesses: Readonly<Record<string, 'in' | 'out' | 'inout'>> = { In: 'in', Out: 'out', InOut: 'inout' }

class SignatureReader {
  readonly #modules: Modules
  readonly #config: Config

  constructor(modules: Modules, config: Config) {
    this.#modules = modules
    this.#config = config
  }

  /** The fields of an object type, through aliases, interfaces and intersections. */
  members(typed: Typed): { member: TypeMember; module: Module }[] | undefined {
    const { type, module } = this.#resolve(typed)
    if (type.kind === 'members') return type.members.map((member) => ({ member, module }))
    if (type.kind !== 'intersection') return undefined
    const parts = type.parts.map((part) => this.members({ type: part, module }))
    if (parts.some((p) => !p)) return undefined
    const byName = new Map(parts.flat().map((m) => [m!.member.name, m!]))
    return [...byName.values()]
  }

  /** The optional fields of an object type, of any part of it; undefined where a part is no object type. */
  optional(typed: Typed): string[] | undefined {
    const { type, module } = this.#resolve(typed)
    if (type.kind === 'union' || type.kind === 'intersection') {
      const parts = type.parts.map((part) => this.optional({ type: part, module }))
      return parts.some((names) => !names) ? undefined : parts.flatMap((names) => names!)
    }
    return this.members(typed)?.flatMap(({ member }) => (member.optional ? [member.name] : []))
  }

  /** Follows aliases, with their type arguments filled in. */
  #resolve(typed: Typed): Typed {
    const { type, module } = typed
    if (type.kind !== 'reference') return typed
    const definition = this.#modules.findType(module, type.name)
    if (definition?.kind === 'language') return { type: { ...type, name: definition.name }, module }
    if (!definition) return typed
    const { declaration } = definition
    if (declaration.params.length === 0)
      return this.#resolve({ type: declaration.type, module: definition.module })
    const given = new Map(declaration.params.map((name, i) => [name, type.args[i]]))
    return this.#resolve({ type: substitute(declaration.type, given), module: definition.module })
  }

  param(member: TypeMember, module: Module): DeclaredParam {
    const { name } = member
    const fails = (what: string, help: string): Diagnostic =>
      new Diagnostic('E0409', what, { span: member.span, help })
    const wanted = `${name}: In<f32, 'N'>, Out<…>, InOut<…>, f32, i32 or u32`
    if (!member.type) throw fails(`the argument ${name} has no type`, wanted)
    const { type, module: from } = this.#resolve({ type: member.type, module })
    if (type.kind !== 'reference') throw fails(`${name} cannot be an argument of a kernel`, wanted)
    if (type.name === 'f32' || type.name === 'i32' || type.name === 'u32')
      return { kind: 'scalar', name, dtype: type.name }
    const access = accesses[type.name]
    if (!access) throw fails(`${name} cannot be an argument of a kernel`, wanted)
    const [element, shape, tag] = type.args
    if (!element || !shape)
      throw fails(`${name} needs an element type and shape words`, `${type.name}<f32, 'N'>`)
    const words = this.#text(shape, from, 'shape words').trim().split(/\s+/)
    return {
      kind: 'tensor',
      name,
      dtype: this.#element(element, from),
      shape: words.map((word) => this.#extent(word, shape.span)),
      words,
      tag: tag ? this.#text(tag, from, 'the layout tag') : 'row',
      access,
    }
  }

  #text(type: TypeNode, module: Module, what: string): string {
    const resolved = this.#resolve({ type, module }).type
    if (resolved.kind === 'literal' && typeof resolved.value === 'string') return resolved.value
    throw new Diagnostic('E0409', `${what} must be a string literal`, {
      span: type.span,
      help: "In<f32, 'M K'>",
    })
  }

  #element(type: TypeNode, module: Module): DType {
    const resolved = this.#resolve({ type, module }).type
    if (resolved.kind === 'reference') {
      if (resolved.name === 'Elem') return this.#spelled(resolved)
      if (resolved.name in dtypeBytes) return resolved.name as DType
    }
    throw new Diagnostic('E0409', 'this is not an element type', {
      span: type.span,
      help: `element types are ${Object.keys(dtypeBytes).join(', ')}, or Elem<'dtype'> for the one that c.dtype names`,
    })
  }

  #spelled(type: TypeNode & { kind: 'reference' }): DType {
    const names = type.args.map((argument) => (argument.kind === 'literal' ? String(argument.value) : ''))
    const name = names.find((each) => this.#config[each] !== undefined) ?? names.at(-1) ?? ''
    const value = this.#config[name]
    if (typeof value === 'string' && value in dtypeBytes) return value as DType
    const given = value === undefined ? 'is not among the constants' : `is ${JSON.stringify(value)}`
    throw new Diagnostic(
      'E0411',
      `Elem<'${name}'> takes its type from the constant ${name}, which ${given}`,
      {
        span: type.span,
        help: `pass { ${name}: 'f16' }, or another of ${Object.keys(dtypeBytes).join(', ')}`,
      },
    )
  }

  #extent(word: string, span: Span): string | number {
    if (/^\d+$/.test(word)) return Number(word)
    if (!/^[A-Za-z_$][\w$]*$/.test(word)) {
      throw new Diagnostic('E0409', `'${word}' is not a shape word`, {
        span,
        help: `words are names or numbers between spaces: 'M K' or 'M 64'`,
      })
    }
    const value = this.#config[word]
    if (value === undefined) return word
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value
    throw new Diagnostic('E0410', `the constant ${word} is an extent, and is ${JSON.stringify(value)}`, {
      span,
      help: 'an extent is a positive integer',
    })
  }
}

function substitute(type: TypeNode, given: ReadonlyMap<string, TypeNode | undefined>): TypeNode {
  switch (type.kind) {
    case 'reference':
      return given.get(type.name) ?? { ...type, args: type.args.map((a) => substitute(a, given)) }
    case 'members':
      return {
        ...type,
        members: type.members.map((m) => ({ ...m, type: m.type && substitute(m.type, given) })),
      }
    case 'intersection':
    case 'union':
      return { ...type, parts: type.parts.map((p) => substitute(p, given)) }
    default:
      return type
  }
}

/** The type of a parameter in the IR. */
export function parameterType(param: Param): ParamType {
  switch (param.kind) {
    case 'tensor':
      return 'address'
    case 'dim':
      return 'i32'
    case 'scalar':
      return param.dtype
    case 'tensorMap':
      return 'tensorMap'
  }
}
