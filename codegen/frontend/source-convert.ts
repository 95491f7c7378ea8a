import type { ts as TypeScript, TypeScriptApi } from './source.ts'
import type {
  ArrayLiteral,
  BlockStatement,
  ExportedName,
  Expression,
  FileNode,
  FunctionNode,
  ImportedName,
  Parameter,
  Pattern,
  PatternElement,
  Property,
  SourceText,
  Span,
  Spread,
  Statement,
  SwitchCase,
  TypeDeclaration,
  TypeMember,
  TypeNode,
  Unsupported,
} from './syntax.ts'
import { declaredNames } from './syntax.ts'

/**
 * TypeScript's syntax tree to ours. It sees the parser's nodes through the API that `source.ts` hands over, and nothing
 * beyond it does.
 */

const unsupportedStatements: Record<string, [what: string, help: string | undefined]> = {
  ClassDeclaration: ['a class', 'use functions and plain objects'],
  TryStatement: ['try', 'nothing throws on a GPU; test a condition'],
  ThrowStatement: ['throw', 'staticAssert(condition, why) refuses a configuration'],
  LabeledStatement: ['a label', 'use a boolean to leave several loops'],
  ForInStatement: ['for … in', 'iterate Object.keys(…) with for … of'],
  WithStatement: ['with', undefined],
  DebuggerStatement: ['debugger', undefined],
  EnumDeclaration: ['an enum', 'use an object of constants'],
  ModuleDeclaration: ['a namespace', 'use a module'],
}

const unsupportedExpressions: Record<string, [what: string, help: string | undefined]> = {
  NewExpression: ['new', 'arrays are written [ … ], Array.from({ length }, f) or regs(n, init)'],
  DeleteExpression: ['delete', 'build another object without the field'],
  AwaitExpression: ['await', 'copyAsync, commitCopies and waitCopies overlap copies with work'],
  YieldExpression: ['yield', 'pass a function that takes each value'],
  ClassExpression: ['a class', 'use functions and plain objects'],
  ThisKeyword: ['this', 'pass the object as an argument'],
  SuperKeyword: ['super', undefined],
  RegularExpressionLiteral: ['a regular expression', undefined],
  BigIntLiteral: ['a bigint', 'integers have 32 bits; addresses are computed for you'],
  TypeOfExpression: ['typeof', 'types are static; write one function per type'],
  VoidExpression: ['void', undefined],
  TaggedTemplateExpression: ['a tagged template', undefined],
  MetaProperty: ['import.meta', undefined],
}

export class Converter {
  readonly #ts: TypeScriptApi
  readonly #source: SourceText
  readonly #file: TypeScript.SourceFile
  /** Sets of assigned names of the functions being converted, innermost last. */
  readonly #assigned: Set<string>[] = []
  /** Returns seen so far in the function being converted. */
  #returns = 0

  constructor(ts: TypeScriptApi, source: SourceText, file: TypeScript.SourceFile) {
    this.#ts = ts
    this.#source = source
    this.#file = file
  }

  convert(): FileNode {
    const ts = this.#ts
    const statements: Statement[] = []
    const types = new Map<string, TypeDeclaration>()
    const imports: ImportedName[] = []
    const exports: ExportedName[] = []
    const exported = new Set<string>()
    this.#assigned.push(new Set())
    for (const node of this.#file.statements) {
      if (ts.isImportDeclaration(node)) this.#import(imports, node)
      else if (ts.isExportDeclaration(node)) this.#export(exports, node)
      else if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
        types.set(node.name.text, this.#typeDeclaration(node))
        if (isExported(ts, node)) exported.add(node.name.text)
      } else {
        const statement = this.#statement(node)
        statements.push(statement)
        if (isExported(ts, node)) for (const name of declaredNames(statement)) exported.add(name)
      }
    }
    return { source: this.#source, statements, types, imports, exports, exported }
  }

  #span(node: TypeScript.Node): Span {
    return { source: this.#source, start: node.getStart(this.#file), end: node.end }
  }

  #import(into: ImportedName[], node: TypeScript.ImportDeclaration): void {
    const ts = this.#ts
    if (!ts.isStringLiteral(node.moduleSpecifier)) return
    const from = node.moduleSpecifier.text
    const clause = node.importClause
    if (clause?.name)
      into.push({ local: clause.name.text, name: 'default', from, span: this.#span(clause.name) })
    const bindings = clause?.namedBindings
    if (!bindings) return
    if (ts.isNamespaceImport(bindings)) {
      into.push({ local: bindings.name.text, name: '*', from, span: this.#span(bindings.name) })
      return
    }
    for (const element of bindings.elements) {
      const name = (element.propertyName ?? element.name).text
      into.push({ local: element.name.text, name, from, span: this.#span(element) })
    }
  }

  #export(into: ExportedName[], node: TypeScript.ExportDeclaration): void {
    const ts = this.#ts
    const from =
      node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier) ? node.moduleSpecifier.text : undefined
    if (!node.exportClause) {
      if (from !== undefined) into.push({ name: '*', local: '*', from })
      return
    }
    if (ts.isNamespaceExport(node.exportClause)) {
      into.push({ name: node.exportClause.name.text, local: '*', from })
      return
    }
    for (const element of node.exportClause.elements) {
      into.push({ name: element.name.text, local: (element.propertyName ?? element.name).text, from })
    }
  }

  // ---- types -----------------------------------------------------------------------------------------------------

  #typeDeclaration(node: TypeScript.InterfaceDeclaration | TypeScript.TypeAliasDeclaration): TypeDeclaration {
    const ts = this.#ts
    const params = (node.typeParameters ?? []).map((p) => p.name.text)
    if (ts.isTypeAliasDeclaration(node)) {
      return { name: node.name.text, params, type: this.#type(node.type), span: this.#span(node) }
    }
    const own: TypeNode = { kind: 'members', members: this.#members(node.members), span: this.#span(node) }
    const bases = (node.heritageClauses ?? []).flatMap((clause) =>
      clause.types.map((base) => {
        const name = ts.isIdentifier(base.expression) ? base.expression.text : ''
        return this.#reference(base, name, base.typeArguments)
      }),
    )
    const type: TypeNode =
      bases.length === 0 ? own : { kind: 'intersection', parts: [...bases, own], span: own.span }
    return { name: node.name.text, params, type, span: this.#span(node) }
  }

  #members(members: readonly TypeScript.TypeElement[]): TypeMember[] {
    const ts = this.#ts
    return members.filter(ts.isPropertySignature).map((member) => ({
      name: propertyName(ts, member.name) ?? '',
      optional: member.questionToken !== undefined,
      type: member.type && this.#type(member.type),
      span: this.#span(member),
    }))
  }

  #reference(node: TypeScript.Node, name: string, args?: readonly TypeScript.TypeNode[]): TypeNode {
    return { kind: 'reference', name, args: (args ?? []).map((a) => this.#type(a)), span: this.#span(node) }
  }

  #type(node: TypeScript.TypeNode): TypeNode {
    const ts = this.#ts
    const span = this.#span(node)
    if (ts.isParenthesizedTypeNode(node)) return this.#type(node.type)
    if (ts.isTypeOperatorNode(node)) return this.#type(node.type)
    if (ts.isTypeReferenceNode(node) && ts.isIdentifier(node.typeName)) {
      return this.#reference(node, node.typeName.text, node.typeArguments)
    }
    if (ts.isTypeLiteralNode(node)) return { kind: 'members', members: this.#members(node.members), span }
    if (ts.isIntersectionTypeNode(node)) {
      return { kind: 'intersection', parts: node.types.map((t) => this.#type(t)), span }
    }
    if (ts.isUnionTypeNode(node)) return { kind: 'union', parts: node.types.map((t) => this.#type(t)), span }
    if (ts.isLiteralTypeNode(node)) {
      const { literal } = node
      if (ts.isStringLiteral(literal)) return { kind: 'literal', value: literal.text, span }
      if (ts.isNumericLiteral(literal)) return { kind: 'literal', value: Number(literal.text), span }
      if (literal.kind === ts.SyntaxKind.TrueKeyword) return { kind: 'literal', value: true, span }
      if (literal.kind === ts.SyntaxKind.FalseKeyword) return { kind: 'literal', value: false, span }
    }
    if (node.kind === ts.SyntaxKind.UndefinedKeyword) {
      return { kind: 'reference', name: 'undefined', args: [], span }
    }
    return { kind: 'other', span }
  }

  // ---- statements ------------------------------------------------------------------------------------------------

  #unsupported(node: TypeScript.Node, what: string, help?: string): Unsupported {
    return { kind: 'unsupported', what, help, span: this.#span(node) }
  }

  #statement(node: TypeScript.Statement): Statement {
    const ts = this.#ts
    const span = this.#span(node)
    if (ts.isVariableStatement(node)) return this.#variables(node.declarationList)
    if (ts.isExpressionStatement(node)) {
      return { kind: 'expression', expression: this.#expression(node.expression), span }
    }
    if (ts.isReturnStatement(node)) {
      this.#returns++
      return { kind: 'return', value: node.expression && this.#expression(node.expression), span }
    }
    if (ts.isIfStatement(node)) {
      const condition = this.#expression(node.expression)
      const before = this.#returns
      const whenTrue = this.#statement(node.thenStatement)
      const whenFalse = node.elseStatement && this.#statement(node.elseStatement)
      return { kind: 'if', condition, whenTrue, whenFalse, returns: this.#returns > before, span }
    }
    if (ts.isBlock(node)) return this.#block(node)
    if (ts.isForOfStatement(node)) return this.#forOf(node)
    if (ts.isForStatement(node)) {
      return {
        kind: 'for',
        initial:
          node.initializer &&
          (ts.isVariableDeclarationList(node.initializer)
            ? (this.#variables(node.initializer) as Expression)
            : this.#expression(node.initializer)),
        condition: node.condition && this.#expression(node.condition),
        step: node.incrementor && this.#expression(node.incrementor),
        body: this.#statement(node.statement),
        span,
      }
    }
    if (ts.isWhileStatement(node) || ts.isDoStatement(node)) {
      const condition = this.#expression(node.expression)
      return {
        kind: 'while',
        testAfter: ts.isDoStatement(node),
        condition,
        body: this.#statement(node.statement),
        span,
      }
    }
    if (ts.isSwitchStatement(node)) {
      const cases = node.caseBlock.clauses.map(
        (clause): SwitchCase => ({
          test: ts.isCaseClause(clause) ? this.#expression(clause.expression) : undefined,
          body: clause.statements.map((s) => this.#statement(s)),
          span: this.#span(clause),
        }),
      )
      return { kind: 'switch', subject: this.#expression(node.expression), cases, span }
    }
    if (ts.isBreakStatement(node) || ts.isContinueStatement(node)) {
      if (node.label) return this.#unsupported(node, 'a label', unsupportedStatements.LabeledStatement![1])
      return { kind: ts.isBreakStatement(node) ? 'break' : 'continue', span }
    }
    if (ts.isFunctionDeclaration(node) && node.name) {
      if (!node.body) return { kind: 'empty', span }
      const name = node.name.text
      return { kind: 'functionDeclaration', name, function: this.#function(node, name), span }
    }
    if (ts.isEmptyStatement(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
      return { kind: 'empty', span }
    }
    const known = unsupportedStatements[ts.SyntaxKind[node.kind]]
    return this.#unsupported(node, known?.[0] ?? 'this statement', known?.[1])
  }

  #block(node: TypeScript.Block): BlockStatement {
    const before = this.#returns
    const body = node.statements.map((s) => this.#statement(s))
    return { kind: 'block', body, returns: this.#returns > before, span: this.#span(node) }
  }

  #variables(list: TypeScript.VariableDeclarationList): Statement {
    const ts = this.#ts
    if (!(list.flags & (ts.NodeFlags.Let | ts.NodeFlags.Const))) {
      return this.#unsupported(list, 'var', 'use const, or let for what is assigned again')
    }
    return {
      kind: 'variable',
      keyword: list.flags & ts.NodeFlags.Const ? 'const' : 'let',
      declarations: list.declarations.map((d) => ({
        target: this.#pattern(d.name),
        type: d.type && this.#type(d.type),
        initial: d.initializer && this.#expression(d.initializer, nameOf(ts, d.name)),
        span: this.#span(d),
      })),
      span: this.#span(list),
    }
  }

  #forOf(node: TypeScript.ForOfStatement): Statement {
    const ts = this.#ts
    if (node.awaitModifier) return this.#unsupported(node, 'for await')
    const list = node.initializer
    if (!ts.isVariableDeclarationList(list) || !(list.flags & (ts.NodeFlags.Let | ts.NodeFlags.Const))) {
      return this.#unsupported(node, 'for … of without const', 'write for (const x of …)')
    }
    return {
      kind: 'forOf',
      keyword: list.flags & ts.NodeFlags.Const ? 'const' : 'let',
      target: this.#pattern(list.declarations[0]!.name),
      iterable: this.#expression(node.expression),
      body: this.#statement(node.statement),
      span: this.#span(node),
    }
  }

  // ---- patterns and functions ------------------------------------------------------------------------------------

  #pattern(node: TypeScript.BindingName): Pattern {
    const ts = this.#ts
    const span = this.#span(node)
    if (ts.isIdentifier(node)) return { kind: 'identifier', name: node.text, span }
    const element = (e: TypeScript.BindingElement): PatternElement => ({
      target: this.#pattern(e.name),
      initial: e.initializer && this.#expression(e.initializer),
      rest: e.dotDotDotToken !== undefined,
    })
    if (ts.isArrayBindingPattern(node)) {
      const elements = node.elements.map((e) => (ts.isOmittedExpression(e) ? null : element(e)))
      return { kind: 'arrayPattern', elements, span }
    }
    const properties = node.elements.map((e) => ({
      ...element(e),
      key: e.propertyName ? (propertyName(ts, e.propertyName) ?? '') : (nameOf(ts, e.name) ?? ''),
    }))
    return { kind: 'objectPattern', properties, span }
  }

  #function(node: TypeScript.FunctionLikeDeclaration, name: string | undefined): FunctionNode {
    const ts = this.#ts
    const assigned = new Set<string>()
    this.#assigned.push(assigned)
    const outerReturns = this.#returns
    this.#returns = 0
    const params = node.parameters.map(
      (p): Parameter => ({
        target: this.#pattern(p.name),
        type: p.type && this.#type(p.type),
        initial: p.initializer && this.#expression(p.initializer),
        rest: p.dotDotDotToken !== undefined,
        optional: p.questionToken !== undefined,
      }),
    )
    const body = ts.isBlock(node.body!)
      ? this.#block(node.body)
      : this.#expression(node.body as TypeScript.Expression)
    this.#returns = outerReturns
    this.#assigned.pop()
    const outer = this.#assigned.at(-1)
    if (outer) for (const each of assigned) outer.add(each)
    const modifiers = ts.canHaveModifiers(node) ? ts.getModifiers(node) : undefined
    const isAsync = modifiers?.some((m) => m.kind === ts.SyntaxKind.AsyncKeyword)
    const isGenerator = 'asteriskToken' in node && node.asteriskToken !== undefined
    return {
      kind: 'function',
      name,
      params,
      returns: node.type && this.#type(node.type),
      body,
      flavor: isAsync ? 'async' : isGenerator ? 'generator' : undefined,
      assigned,
      span: this.#span(node),
    }
  }

  // ---- expressions -----------------------------------------------------------------------------------------------

  #assigns(target: Expression): Expression {
    if (target.kind === 'identifier') this.#assigned.at(-1)?.add(target.name)
    return target
  }

  #spreadable(node: TypeScript.Expression): Expression | Spread {
    const ts = this.#ts
    if (!ts.isSpreadElement(node)) return this.#expression(node)
    return { kind: 'spread', value: this.#expression(node.expression), span: this.#span(node) }
  }

  #object(node: TypeScript.ObjectLiteralExpression): Expression {
    const ts = this.#ts
    const properties: (Property | Spread)[] = []
    for (const p of node.properties) {
      const span = this.#span(p)
      if (ts.isSpreadAssignment(p)) {
        properties.push({ kind: 'spread', value: this.#expression(p.expression), span })
        continue
      }
      if (ts.isShorthandPropertyAssignment(p)) {
        const value: Expression = { kind: 'identifier', name: p.name.text, span }
        properties.push({ kind: 'property', key: p.name.text, value, span })
        continue
      }
      const name = propertyName(ts, p.name)
      const key = name ?? (ts.isComputedPropertyName(p.name) ? this.#expression(p.name.expression) : '')
      if (ts.isPropertyAssignment(p)) {
        properties.push({ kind: 'property', key, value: this.#expression(p.initializer, name), span })
      } else if (ts.isMethodDeclaration(p)) {
        properties.push({ kind: 'property', key, value: this.#function(p, name), span })
      } else {
        const value = this.#unsupported(p, 'an accessor', 'use a method or a plain field')
        properties.push({ kind: 'property', key, value, span })
      }
    }
    return { kind: 'object', properties, span: this.#span(node) }
  }

  #binary(node: TypeScript.BinaryExpression): Expression {
    const ts = this.#ts
    const span = this.#span(node)
    const operator = ts.tokenToString(node.operatorToken.kind) ?? ''
    if (operator === '==' || operator === '!=') {
      return this.#unsupported(node, operator, `write ${operator}=`)
    }
    if (operator === ',' || operator === 'in' || operator === 'instanceof') {
      const what = operator === ',' ? 'the comma operator' : operator
      return this.#unsupported(node, what, operator === 'in' ? 'Object.keys(x).includes(name)' : undefined)
    }
    if (operator.endsWith('=') && !['===', '!==', '<=', '>='].includes(operator)) {
      if (ts.isArrayLiteralExpression(node.left) || ts.isObjectLiteralExpression(node.left)) {
        return this.#unsupported(node, 'assignment to a pattern', 'assign each variable on its own')
      }
      const target = this.#assigns(this.#expression(node.left))
      const value = this.#expression(node.right)
      return { kind: 'assignment', operator: operator.slice(0, -1), target, value, span }
    }
    const left = this.#expression(node.left)
    const right = this.#expression(node.right)
    if (operator === '&&' || operator === '||' || operator === '??') {
      return { kind: 'logical', operator, left, right, span }
    }
    return { kind: 'binary', operator, left, right, span }
  }

  #expression(node: TypeScript.Expression, name?: string): Expression {
    const ts = this.#ts
    const kind = ts.SyntaxKind
    if (ts.isIdentifier(node)) return { kind: 'identifier', name: node.text, span: this.#span(node) }
    if (ts.isPropertyAccessExpression(node)) {
      return {
        kind: 'member',
        object: this.#expression(node.expression),
        name: node.name.text,
        nameSpan: this.#span(node.name),
        optional: node.questionDotToken !== undefined,
        span: this.#span(node),
      }
    }
    if (ts.isCallExpression(node)) {
      return {
        kind: 'call',
        callee: this.#expression(node.expression),
        args: node.arguments.map((a) => this.#spreadable(a)),
        types: (node.typeArguments ?? []).map((t) => this.#type(t)),
        optional: node.questionDotToken !== undefined,
        span: this.#span(node),
      }
    }
    if (ts.isNumericLiteral(node)) return { kind: 'number', value: Number(node.text), span: this.#span(node) }
    if (ts.isBinaryExpression(node)) return this.#binary(node)
    if (ts.isElementAccessExpression(node)) {
      return {
        kind: 'element',
        object: this.#expression(node.expression),
        index: this.#expression(node.argumentExpression),
        optional: node.questionDotToken !== undefined,
        span: this.#span(node),
      }
    }
    if (
      ts.isParenthesizedExpression(node) ||
      ts.isAsExpression(node) ||
      ts.isNonNullExpression(node) ||
      ts.isSatisfiesExpression(node) ||
      ts.isTypeAssertionExpression(node) ||
      ts.isExpressionWithTypeArguments(node)
    ) {
      return this.#expression(node.expression, name)
    }
    if (ts.isArrowFunction(node) || ts.isFunctionExpression(node)) {
      return this.#function(node, node.name?.text ?? name)
    }
    if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) {
      return { kind: 'string', value: node.text, span: this.#span(node) }
    }
    if (ts.isArrayLiteralExpression(node)) {
      const elements: ArrayLiteral['elements'] = node.elements.map((e) => this.#spreadable(e))
      return { kind: 'array', elements, span: this.#span(node) }
    }
    if (ts.isObjectLiteralExpression(node)) return this.#object(node)
    if (ts.isConditionalExpression(node)) {
      return {
        kind: 'conditional',
        condition: this.#expression(node.condition),
        whenTrue: this.#expression(node.whenTrue),
        whenFalse: this.#expression(node.whenFalse),
        span: this.#span(node),
      }
    }
    if (node.kind === kind.TrueKeyword || node.kind === kind.FalseKeyword || node.kind === kind.NullKeyword) {
      const value = node.kind === kind.NullKeyword ? null : node.kind === kind.TrueKeyword
      return { kind: 'constant', value, span: this.#span(node) }
    }
    if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) return this.#unary(node)
    if (ts.isTemplateExpression(node)) {
      return {
        kind: 'template',
        texts: [node.head.text, ...node.templateSpans.map((s) => s.literal.text)],
        values: node.templateSpans.map((s) => this.#expression(s.expression)),
        span: this.#span(node),
      }
    }
    const known = unsupportedExpressions[kind[node.kind]]
    return this.#unsupported(node, known?.[0] ?? 'this expression', known?.[1])
  }

  #unary(node: TypeScript.PrefixUnaryExpression | TypeScript.PostfixUnaryExpression): Expression {
    const ts = this.#ts
    const span = this.#span(node)
    const operator = ts.tokenToString(node.operator) ?? ''
    const operand = this.#expression(node.operand)
    if (operator === '++' || operator === '--') {
      const prefix = ts.isPrefixUnaryExpression(node)
      return { kind: 'update', operator, prefix, target: this.#assigns(operand), span }
    }
    return { kind: 'unary', operator: operator as '-', operand, span }
  }
}

function isExported(ts: TypeScriptApi, node: TypeScript.Node): boolean {
  const modifiers = ts.canHaveModifiers(node) ? ts.getModifiers(node) : undefined
  return modifiers?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword) ?? false
}

function propertyName(ts: TypeScriptApi, name: TypeScript.PropertyName): string | undefined {
  if (ts.isIdentifier(name) || ts.isStringLiteral(name) || ts.isNumericLiteral(name)) return name.text
  return undefined
}

const nameOf = (ts: TypeScriptApi, name: TypeScript.BindingName): string | undefined =>
  ts.isIdentifier(name) ? name.text : undefined
