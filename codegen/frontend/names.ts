import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as atoms from '../../dsl/atoms/index.ts'
import * as dtype from '../../dsl/dtype.ts'
import * as half from '../../dsl/half.ts'
import * as layout from '../../dsl/layout/index.ts'
import * as math from '../../dsl/math.ts'
import { Diagnostic } from '../diagnostics.ts'
import { parseFile } from './source.ts'
import type { FileNode, ImportedName, Span, Statement, TypeDeclaration } from './syntax.ts'
import { declaredNames } from './syntax.ts'

/**
 * Which file a name comes from.
 *
 * Kernel files, the formats and `dsl/std` are read as source. The rest of `dsl/` is either the language itself
 * (`intrinsics`, `scalars`, `tensor`, `kernel`: builtins by name) or static arithmetic that runs as JavaScript
 * (`layout`, `atoms`, `math`, `dtype`, `half`).
 */
export interface Module {
  readonly path: string
  readonly kind: 'source' | 'native' | 'language'
  readonly file: FileNode | undefined
  readonly sha256: string
  /** Statements by the names that they declare. */
  readonly declarations: ReadonlyMap<string, Statement>
  readonly imports: ReadonlyMap<string, ImportedName>
  /** Exports of a native module. */
  readonly values: Readonly<Record<string, unknown>>
}

/** What a name stands for. */
export type Definition =
  | {
      readonly kind: 'declaration'
      readonly module: Module
      readonly name: string
      readonly statement: Statement
    }
  | { readonly kind: 'language'; readonly name: string }
  | { readonly kind: 'native'; readonly value: unknown }
  | { readonly kind: 'namespace'; readonly module: Module }

export type TypeDefinition =
  | { readonly kind: 'type'; readonly module: Module; readonly declaration: TypeDeclaration }
  | { readonly kind: 'language'; readonly name: string }

const compiledRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
/** The package's folder of sources, also when the compiler runs from `dist`. */
export const packageSources =
  compiledRoot.endsWith('dist') && existsSync(join(dirname(compiledRoot), 'package.json'))
    ? dirname(compiledRoot)
    : compiledRoot

const dslFolder = join(packageSources, 'dsl')
const languageFiles = [
  'intrinsics.ts',
  'async.ts',
  'warpgroups.ts',
  'scalars.ts',
  'tensor.ts',
  'kernel.ts',
].map((f) => join(dslFolder, f))
const nativeFiles: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'math.ts': math,
  'dtype.ts': dtype,
  'half.ts': half,
}

const shipSources =
  'kernels are compiled from source: ship the .ts files with the program, and do not bundle them'

/** The modules of one compilation, by path. */
export class Modules {
  readonly #modules = new Map<string, Module>()
  /** Source files by the paths that imports name. */
  readonly #paths = new Map<string, string>()
  readonly #found = new Map<Module, Map<string, Definition | undefined>>()
  readonly #types = new Map<Module, Map<string, TypeDefinition | undefined>>()

  /** Source modules read so far, in order. */
  get sources(): Module[] {
    return [...this.#modules.values()].filter((m) => m.kind === 'source')
  }

  /** The module of a program's file, which may be compiled JavaScript. */
  loadProgram(path: string): Module {
    const source = sourceOf(path)
    if (source) return this.load(source)
    throw new Diagnostic('E0003', `the TypeScript source of ${path} is missing`, { help: shipSources })
  }

  load(path: string, from?: Span): Module {
    const known = this.#modules.get(path)
    if (known) return known
    const module = this.#open(path, from)
    this.#modules.set(path, module)
    return module
  }

  #open(path: string, from: Span | undefined): Module {
    const empty = { file: undefined, sha256: '', declarations: new Map(), imports: new Map(), values: {} }
    if (languageFiles.includes(path)) return { ...empty, path, kind: 'language' }
    const values = nativeValues(path)
    if (values) return { ...empty, path, kind: 'native', values }
    let parsed: ReturnType<typeof parseFile>
    try {
      parsed = parseFile(path)
    } catch (error) {
      if (error instanceof Diagnostic) throw error
      throw new Diagnostic('E0003', `the source ${path} cannot be read`, { span: from, help: shipSources })
    }
    const declarations = new Map<string, Statement>()
    for (const statement of parsed.node.statements) {
      for (const name of declaredNames(statement)) declarations.set(name, statement)
    }
    const imports = new Map(parsed.node.imports.map((i) => [i.local, i]))
    return {
      path,
      kind: 'source',
      file: parsed.node,
      sha256: parsed.sha256,
      declarations,
      imports,
      values: {},
    }
  }

  /** The file that an import names. */
  target(from: Module, specifier: string, span: Span | undefined): Module {
    if (specifier === 'quattuor' || specifier === 'quattuor/dsl') {
      return this.load(join(dslFolder, 'index.ts'), span)
    }
    if (specifier === 'quattuor/kernels') return this.load(join(packageSources, 'kernels/index.ts'), span)
    if (!specifier.startsWith('.')) {
      throw new Diagnostic('E0005', `a kernel cannot use the module '${specifier}'`, {
        span,
        help: 'kernels use relative imports and the package quattuor',
      })
    }
    const wanted = resolve(dirname(from.path), specifier)
    // Names are looked up by the thousand, and each asks for its file.
    const path = this.#paths.get(wanted) ?? sourceOf(wanted)
    if (!path)
      throw new Diagnostic('E0003', `the source of '${specifier}' is missing`, { span, help: shipSources })
    this.#paths.set(wanted, path)
    return this.load(path, span)
  }

  /** What a name means at the top level of a module; undefined if it is not declared there. */
  find(module: Module, name: string): Definition | undefined {
    return remember(this.#found, module, name, () => this.#find(module, name))
  }

  #find(module: Module, name: string): Definition | undefined {
    if (module.kind !== 'source') return this.exported(module, name)
    const statement = module.declarations.get(name)
    if (statement) return { kind: 'declaration', module, name, statement }
    const imported = module.imports.get(name)
    if (!imported) return undefined
    const target = this.target(module, imported.from, imported.span)
    if (imported.name === '*') return { kind: 'namespace', module: target }
    const found = this.exported(target, imported.name)
    if (found) return found
    throw new Diagnostic('E0006', `'${imported.name}' is not exported by ${imported.from}`, {
      span: imported.span,
    })
  }

  /** What a module exports under a name. */
  exported(module: Module, name: string, seen: Set<Module> = new Set()): Definition | undefined {
    if (module.kind === 'language') return { kind: 'language', name }
    if (module.kind === 'native') {
      return name in module.values ? { kind: 'native', value: module.values[name] } : undefined
    }
    if (seen.has(module)) return undefined
    seen.add(module)
    const file = module.file!
    if (file.exported.has(name)) {
      const statement = module.declarations.get(name)
      return statement && { kind: 'declaration', module, name, statement }
    }
    for (const e of file.exports) {
      if (e.name !== name || e.name === '*') continue
      if (e.from === undefined) return this.find(module, e.local)
      const target = this.target(module, e.from, undefined)
      return e.local === '*' ? { kind: 'namespace', module: target } : this.exported(target, e.local, seen)
    }
    // Builtins answer to any name, so modules that declare their names are asked first.
    const all = file.exports.filter((e) => e.name === '*').map((e) => this.target(module, e.from!, undefined))
    for (const target of all.filter((m) => m.kind !== 'language')) {
      const found = this.exported(target, name, seen)
      if (found) return found
    }
    return all.some((m) => m.kind === 'language') ? { kind: 'language', name } : undefined
  }

  /** What a type's name means in a module; undefined if nothing declares it. */
  findType(module: Module, name: string): TypeDefinition | undefined {
    return remember(this.#types, module, name, () => this.#findType(module, name))
  }

  #findType(module: Module, name: string): TypeDefinition | undefined {
    if (module.kind === 'language') return { kind: 'language', name }
    if (module.kind === 'native') return undefined
    const file = module.file!
    const declaration = file.types.get(name)
    if (declaration) return { kind: 'type', module, declaration }
    const imported = module.imports.get(name)
    if (!imported) return undefined
    return this.#exportedType(this.target(module, imported.from, imported.span), imported.name)
  }

  #exportedType(module: Module, name: string): TypeDefinition | undefined {
    if (module.kind !== 'source') return this.findType(module, name)
    if (module.file!.types.has(name)) return this.findType(module, name)
    for (const e of module.file!.exports) {
      if (e.from === undefined || (e.name !== name && e.name !== '*')) continue
      const target = this.target(module, e.from, undefined)
      if (e.name === '*' && target.kind === 'language') continue
      const found = this.#exportedType(target, e.name === '*' ? name : e.local)
      if (found) return found
    }
    return module.path === join(dslFolder, 'index.ts') ? { kind: 'language', name } : undefined
  }
}

function remember<T>(known: Map<Module, Map<string, T>>, module: Module, name: string, compute: () => T): T {
  let names = known.get(module)
  if (!names) {
    names = new Map()
    known.set(module, names)
  }
  if (!names.has(name)) names.set(name, compute())
  return names.get(name) as T
}

function nativeValues(path: string): Readonly<Record<string, unknown>> | undefined {
  const inside = relative(dslFolder, path)
  if (inside.startsWith('..')) return undefined
  if (inside.startsWith('layout/')) return layout
  if (inside.startsWith('atoms/')) return atoms
  return nativeFiles[inside]
}

/**
 * The TypeScript file behind a path: the file itself, or for compiled JavaScript what its source map names, or the
 * `.ts` file at the same place outside `dist`. Undefined if there is none.
 */
export function sourceOf(path: string): string | undefined {
  if (path.endsWith('.ts') && existsSync(path)) return path
  if (path.endsWith('.js')) {
    const beside = path.replace(/\.js$/, '.ts')
    const candidates = [mapped(path), beside.replace(/([\\/])dist([\\/])(?!.*[\\/]dist[\\/])/, '$1'), beside]
    for (const candidate of candidates) if (candidate && existsSync(candidate)) return candidate
  }
  return undefined
}

/** The first source that a JavaScript file's map names. */
function mapped(path: string): string | undefined {
  if (!existsSync(`${path}.map`)) return undefined
  const map = JSON.parse(readFileSync(`${path}.map`, 'utf8')) as { sources?: string[]; sourceRoot?: string }
  const first = map.sources?.[0]
  return first === undefined ? undefined : resolve(dirname(path), map.sourceRoot ?? '', first)
}
