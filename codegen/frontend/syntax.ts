/**
 * The compiler's own syntax tree: what `source.ts` makes of a parsed file, and all that the rest of the compiler sees
 * of TypeScript. Type assertions (`as`, `satisfies`, `!`) and parentheses are gone; types remain only where the
 * language gives them meaning.
 */

/** The text of one file, as it was when parsed. */
export interface SourceText {
  readonly path: string
  readonly text: string
  /** Offsets at which lines start. */
  readonly lineStarts: readonly number[]
}

/** A range of a file, in characters. */
export interface Span {
  readonly source: SourceText
  readonly start: number
  readonly end: number
}

/** One-based line and column of an offset. */
export function positionOf(source: SourceText, offset: number): { line: number; column: number } {
  let low = 0
  let high = source.lineStarts.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (source.lineStarts[middle]! <= offset) low = middle
    else high = middle - 1
  }
  return { line: low + 1, column: offset - source.lineStarts[low]! + 1 }
}

export const textOf = (node: { readonly span: Span }): string =>
  node.span.source.text.slice(node.span.start, node.span.end)

// ---- expressions -------------------------------------------------------------------------------------------------

interface Base {
  readonly span: Span
}

export interface NumberLiteral extends Base {
  readonly kind: 'number'
  readonly value: number
}
export interface StringLiteral extends Base {
  readonly kind: 'string'
  readonly value: string
}
/** `true`, `false` and `null`. */
export interface ConstantLiteral extends Base {
  readonly kind: 'constant'
  readonly value: boolean | null
}
export interface TemplateLiteral extends Base {
  readonly kind: 'template'
  /** One more than `values`. */
  readonly texts: readonly string[]
  readonly values: readonly Expression[]
}
export interface Identifier extends Base {
  readonly kind: 'identifier'
  readonly name: string
}
export interface ArrayLiteral extends Base {
  readonly kind: 'array'
  readonly elements: readonly (Expression | Spread)[]
}
export interface Spread extends Base {
  readonly kind: 'spread'
  readonly value: Expression
}
export interface ObjectLiteral extends Base {
  readonly kind: 'object'
  readonly properties: readonly (Property | Spread)[]
}
export interface Property extends Base {
  readonly kind: 'property'
  readonly key: string | Expression
  readonly value: Expression
}
/** An arrow, a function expression, a method, or the body of a function declaration. */
export interface FunctionNode extends Base {
  readonly kind: 'function'
  readonly name: string | undefined
  readonly params: readonly Parameter[]
  readonly returns: TypeNode | undefined
  readonly body: Expression | BlockStatement
  /** `async`, `generator`, or undefined. */
  readonly flavor: 'async' | 'generator' | undefined
  /** Names that the body assigns, in it or in functions within. */
  readonly assigned: ReadonlySet<string>
}
export interface Parameter {
  readonly target: Pattern
  readonly type: TypeNode | undefined
  readonly initial: Expression | undefined
  readonly rest: boolean
  readonly optional: boolean
}
export interface Unary extends Base {
  readonly kind: 'unary'
  readonly operator: '-' | '+' | '!' | '~'
  readonly operand: Expression
}
/** `x++`, `--x`. */
export interface Update extends Base {
  readonly kind: 'update'
  readonly operator: '++' | '--'
  readonly prefix: boolean
  readonly target: Expression
}
export interface Binary extends Base {
  readonly kind: 'binary'
  readonly operator: string
  readonly left: Expression
  readonly right: Expression
}
export interface Logical extends Base {
  readonly kind: 'logical'
  readonly operator: '&&' | '||' | '??'
  readonly left: Expression
  readonly right: Expression
}
/** `=` has operator `''`; `+=` has `'+'`; the logical ones `'&&'`, `'||'`, `'??'`. */
export interface Assignment extends Base {
  readonly kind: 'assignment'
  readonly operator: string
  readonly target: Expression
  readonly value: Expression
}
export interface Conditional extends Base {
  readonly kind: 'conditional'
  readonly condition: Expression
  readonly whenTrue: Expression
  readonly whenFalse: Expression
}
export interface Member extends Base {
  readonly kind: 'member'
  readonly object: Expression
  readonly name: string
  readonly nameSpan: Span
  readonly optional: boolean
}
export interface Element extends Base {
  readonly kind: 'element'
  readonly object: Expression
  readonly index: Expression
  readonly optional: boolean
}
export interface Call extends Base {
  readonly kind: 'call'
  readonly callee: Expression
  readonly args: readonly (Expression | Spread)[]
  /** Explicit type arguments. */
  readonly types: readonly TypeNode[]
  readonly optional: boolean
}
/** Syntax that the language does not have, by its name in messages. */
export interface Unsupported extends Base {
  readonly kind: 'unsupported'
  readonly what: string
  readonly help: string | undefined
}

export type Expression =
  | NumberLiteral
  | StringLiteral
  | ConstantLiteral
  | TemplateLiteral
  | Identifier
  | ArrayLiteral
  | ObjectLiteral
  | FunctionNode
  | Unary
  | Update
  | Binary
  | Logical
  | Assignment
  | Conditional
  | Member
  | Element
  | Call
  | Unsupported

// ---- patterns ----------------------------------------------------------------------------------------------------

export interface ArrayPattern extends Base {
  readonly kind: 'arrayPattern'
  readonly elements: readonly (PatternElement | null)[]
}
export interface ObjectPattern extends Base {
  readonly kind: 'objectPattern'
  readonly properties: readonly (PatternElement & { readonly key: string })[]
}
export interface PatternElement {
  readonly target: Pattern
  readonly initial: Expression | undefined
  readonly rest: boolean
}
export type Pattern = Identifier | ArrayPattern | ObjectPattern | Unsupported

// ---- statements --------------------------------------------------------------------------------------------------

export interface VariableStatement extends Base {
  readonly kind: 'variable'
  readonly keyword: 'const' | 'let'
  readonly declarations: readonly VariableDeclaration[]
}
export interface VariableDeclaration extends Base {
  readonly target: Pattern
  readonly type: TypeNode | undefined
  readonly initial: Expression | undefined
}
export interface FunctionDeclaration extends Base {
  readonly kind: 'functionDeclaration'
  readonly name: string
  readonly function: FunctionNode
}
export interface ReturnStatement extends Base {
  readonly kind: 'return'
  readonly value: Expression | undefined
}
export interface IfStatement extends Base {
  readonly kind: 'if'
  readonly condition: Expression
  readonly whenTrue: Statement
  readonly whenFalse: Statement | undefined
  /** Whether a `return` of the enclosing function stands in it. */
  readonly returns: boolean
}
export interface ForStatement extends Base {
  readonly kind: 'for'
  readonly initial: VariableStatement | Expression | undefined
  readonly condition: Expression | undefined
  readonly step: Expression | undefined
  readonly body: Statement
}
export interface ForOfStatement extends Base {
  readonly kind: 'forOf'
  readonly keyword: 'const' | 'let'
  readonly target: Pattern
  readonly iterable: Expression
  readonly body: Statement
}
export interface WhileStatement extends Base {
  readonly kind: 'while'
  /** `do … while` tests after the body. */
  readonly testAfter: boolean
  readonly condition: Expression
  readonly body: Statement
}
export interface SwitchStatement extends Base {
  readonly kind: 'switch'
  readonly subject: Expression
  readonly cases: readonly SwitchCase[]
}
export interface SwitchCase extends Base {
  /** Undefined for `default`. */
  readonly test: Expression | undefined
  readonly body: readonly Statement[]
}
export interface BlockStatement extends Base {
  readonly kind: 'block'
  readonly body: readonly Statement[]
  readonly returns: boolean
}
export interface ExpressionStatement extends Base {
  readonly kind: 'expression'
  readonly expression: Expression
}
export interface JumpStatement extends Base {
  readonly kind: 'break' | 'continue'
}
export interface EmptyStatement extends Base {
  readonly kind: 'empty'
}

export type Statement =
  | VariableStatement
  | FunctionDeclaration
  | ReturnStatement
  | IfStatement
  | ForStatement
  | ForOfStatement
  | WhileStatement
  | SwitchStatement
  | BlockStatement
  | ExpressionStatement
  | JumpStatement
  | EmptyStatement
  | Unsupported

// ---- types -------------------------------------------------------------------------------------------------------

export type TypeNode =
  | (Base & { readonly kind: 'reference'; readonly name: string; readonly args: readonly TypeNode[] })
  | (Base & { readonly kind: 'literal'; readonly value: string | number | boolean })
  | (Base & { readonly kind: 'members'; readonly members: readonly TypeMember[] })
  | (Base & { readonly kind: 'intersection'; readonly parts: readonly TypeNode[] })
  | (Base & { readonly kind: 'union'; readonly parts: readonly TypeNode[] })
  | (Base & { readonly kind: 'other' })

export interface TypeMember extends Base {
  readonly name: string
  readonly optional: boolean
  readonly type: TypeNode | undefined
}

export interface TypeDeclaration extends Base {
  readonly name: string
  readonly params: readonly string[]
  readonly type: TypeNode
}

// ---- files -------------------------------------------------------------------------------------------------------

export interface ImportedName {
  readonly local: string
  /** The exported name, `default`, or `*` for a namespace. */
  readonly name: string
  readonly from: string
  readonly span: Span
}
export interface ExportedName {
  readonly name: string
  /** The local name, or the name in `from`; `*` exports all of `from`. */
  readonly local: string
  readonly from: string | undefined
}

export interface FileNode {
  readonly source: SourceText
  readonly statements: readonly Statement[]
  readonly types: ReadonlyMap<string, TypeDeclaration>
  readonly imports: readonly ImportedName[]
  readonly exports: readonly ExportedName[]
  /** Names declared at the top level that the file exports directly. */
  readonly exported: ReadonlySet<string>
}

/** Whether evaluating an expression can change a variable: operators read their left side directly if not. */
export function isInert(node: Expression): boolean {
  switch (node.kind) {
    case 'number':
    case 'string':
    case 'constant':
    case 'identifier':
      return true
    case 'unary':
      return isInert(node.operand)
    case 'binary':
    case 'logical':
      return isInert(node.left) && isInert(node.right)
    case 'member':
      return isInert(node.object)
    case 'element':
      return isInert(node.object) && isInert(node.index)
    default:
      return false
  }
}

/** The names that a pattern binds. */
function patternNames(pattern: Pattern): string[] {
  if (pattern.kind === 'identifier') return [pattern.name]
  if (pattern.kind === 'arrayPattern')
    return pattern.elements.flatMap((e) => (e ? patternNames(e.target) : []))
  if (pattern.kind === 'objectPattern') return pattern.properties.flatMap((p) => patternNames(p.target))
  return []
}

/** The names that a statement declares. */
export function declaredNames(statement: Statement): string[] {
  if (statement.kind === 'functionDeclaration') return [statement.name]
  if (statement.kind === 'variable') return statement.declarations.flatMap((d) => patternNames(d.target))
  return []
}
