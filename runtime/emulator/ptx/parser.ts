import { DeviceError } from '../../device.ts'
import { type Form, formsOf, matchModifiers } from './forms.ts'
import { type Token, tokenize } from './lexer.ts'
import type {
  AddressOperand,
  Instruction,
  Kernel,
  KernelParam,
  Operand,
  PtxModule,
  Register,
  RegisterOperand,
  RegisterType,
  SharedVariable,
  SourceLocation,
} from './module.ts'

const registerTypes: Readonly<Record<string, RegisterType>> = {
  '.pred': 'pred',
  '.b16': 'b16',
  '.u16': 'b16',
  '.s16': 'b16',
  '.f16': 'b16',
  '.bf16': 'b16',
  '.b32': 'b32',
  '.u32': 'b32',
  '.s32': 'b32',
  '.f16x2': 'b32',
  '.bf16x2': 'b32',
  '.b64': 'b64',
  '.u64': 'b64',
  '.s64': 'b64',
  '.f32': 'f32',
  '.f64': 'f64',
}

const typeBytes: Readonly<Record<string, number>> = {
  '.b8': 1,
  '.u8': 1,
  '.s8': 1,
  '.b16': 2,
  '.u16': 2,
  '.s16': 2,
  '.f16': 2,
  '.bf16': 2,
  '.b32': 4,
  '.u32': 4,
  '.s32': 4,
  '.f32': 4,
  '.f16x2': 4,
  '.b64': 8,
  '.u64': 8,
  '.s64': 8,
  '.f64': 8,
}

const specialRegister =
  /^%(?:(?:tid|ntid|ctaid|nctaid|clusterid|nclusterid|cluster_ctaid|cluster_nctaid)\.[xyz]|cluster_ctarank|cluster_nctarank|laneid|warpid|nwarpid|smid|nsmid|gridid|clock|clock64|lanemask_(?:eq|lt|le|gt|ge)|dynamic_smem_size|total_smem_size)$/

const align = (value: number, to: number): number => Math.ceil(value / to) * to

/** Parses PTX text. Throws a `DeviceError` that names the line of the first thing it does not know. */
export function parsePtx(text: string): PtxModule {
  return new Parser(text).module()
}

class Parser {
  private readonly text: string
  private readonly tokens: Token[]
  private position = 0
  private readonly files = new Map<number, string>()
  private readonly moduleShared: SharedVariable[] = []
  private moduleSharedBytes = 0
  private kernelName: string | undefined
  private location: SourceLocation | undefined

  constructor(text: string) {
    this.text = text
    this.tokens = tokenize(text)
  }

  private get token(): Token {
    return this.tokens[this.position]!
  }
  private next(): Token {
    return this.tokens[this.position++]!
  }
  private at(text: string): boolean {
    return this.token.text === text && this.token.kind !== 'string'
  }
  private take(text: string): boolean {
    const found = this.at(text)
    if (found) this.position++
    return found
  }
  private expect(text: string): void {
    if (!this.take(text)) this.fail(`'${text}' is expected before '${this.token.text}'`)
  }
  private word(): string {
    if (this.token.kind !== 'word') this.fail(`a name is expected before '${this.token.text}'`)
    return this.next().text
  }
  private number(): number {
    const negative = this.take('-')
    if (this.token.kind !== 'number') this.fail(`a number is expected before '${this.token.text}'`)
    const value = Number(this.next().text.replace(/U$/, ''))
    return negative ? -value : value
  }
  private fail(problem: string, line = this.token.line, code = 'EMULATOR_INVALID_PTX'): never {
    const source = this.location ? ` (${this.location.file}:${this.location.line})` : ''
    throw new DeviceError(code, `PTX line ${line}${source}: ${problem}.`, {
      kernel: this.kernelName,
      location: this.location ? `${this.location.file}:${this.location.line}` : undefined,
    })
  }

  module(): PtxModule {
    let version = ''
    let target = ''
    // `.file` may stand behind the kernels, and `.loc` needs the names.
    for (const match of this.text.matchAll(/^\s*\.file\s+(\d+)\s+"((?:[^"\\]|\\.)*)"/gm))
      this.files.set(Number(match[1]), match[2]!.replace(/\\(.)/g, '$1'))
    const kernels: Kernel[] = []
    while (this.token.kind !== 'end') {
      const word = this.word()
      if (word === '.version') version = this.next().text
      else if (word === '.target') {
        target = this.word()
        while (this.take(',')) this.word()
      } else if (word === '.address_size') {
        if (this.number() !== 64) this.fail('only 64-bit addresses are supported')
      } else if (word === '.file') this.skipFile()
      else if (word === '.section') this.skipSection()
      else if (word === '.visible' || word === '.weak' || word === '.extern') continue
      else if (word === '.shared') {
        const variable = this.sharedVariable(this.moduleSharedBytes)
        this.moduleShared.push(variable)
        this.moduleSharedBytes = variable.offset + variable.bytes
      } else if (word === '.entry') kernels.push(this.kernel())
      else this.fail(`'${word}' is not supported at the level of the module`)
    }
    return { version, target, kernels }
  }

  private skipFile(): void {
    this.number()
    this.next()
    while (this.take(',')) this.number()
  }
  private skipSection(): void {
    while (!this.at('{') && this.token.kind !== 'end') this.next()
    while (!this.at('}') && this.token.kind !== 'end') this.next()
    this.expect('}')
  }

  /** Behind `.shared`; `extern … smem[]` has no bytes of its own and starts behind the static variables. */
  private sharedVariable(start: number): SharedVariable {
    let alignment = 1
    if (this.take('.align')) alignment = this.number()
    const type = this.word()
    const bytes = typeBytes[type] ?? this.fail(`'${type}' is not a type of shared memory`)
    const name = this.word()
    let count = 1
    while (this.take('[')) {
      count *= this.at(']') ? 0 : this.number()
      this.expect(']')
    }
    this.expect(';')
    const effective = Math.max(alignment, bytes)
    return { name, offset: align(start, effective), bytes: bytes * count, align: effective }
  }

  private kernel(): Kernel {
    const name = this.word()
    this.kernelName = name
    this.location = undefined
    const params: KernelParam[] = []
    let paramBytes = 0
    if (this.take('(')) {
      while (!this.take(')')) {
        const param = this.param(paramBytes)
        params.push(param)
        paramBytes = param.offset + param.bytes
        this.take(',')
      }
    }
    let requiredThreads: [number, number, number] | undefined
    let exactThreads = false
    let cluster: [number, number, number] = [1, 1, 1]
    while (!this.take('{')) {
      const directive = this.word()
      if (directive === '.explicitcluster') continue
      const numbers = [this.number()]
      while (this.take(',')) numbers.push(this.number())
      if (directive === '.reqntid' || directive === '.maxntid') {
        requiredThreads = [numbers[0]!, numbers[1] ?? 1, numbers[2] ?? 1]
        exactThreads = directive === '.reqntid'
      } else if (directive === '.reqnctapercluster') cluster = [numbers[0]!, numbers[1] ?? 1, numbers[2] ?? 1]
      else if (!['.minnctapersm', '.maxnreg', '.maxnctapersm', '.maxclusterrank'].includes(directive))
        this.fail(`'${directive}' is not supported at a kernel`)
    }
    const body = new KernelBody([...this.moduleShared], this.moduleSharedBytes, params)
    this.statements(body)
    this.kernelName = undefined
    return {
      name,
      params,
      paramBytes,
      registers: body.registers,
      // The dynamic window starts behind the static variables.
      sharedVariables: body.shared.map((variable) =>
        variable.bytes === 0
          ? { ...variable, offset: align(body.staticSharedBytes, Math.max(16, variable.align)) }
          : variable,
      ),
      staticSharedBytes: body.staticSharedBytes,
      requiredThreads,
      exactThreads,
      cluster,
      instructions: body.instructions,
      labels: body.labels,
    }
  }

  private param(start: number): KernelParam {
    this.expect('.param')
    let alignment = 1
    let type = this.word()
    if (type === '.align') {
      alignment = this.number()
      type = this.word()
    }
    const bytes = typeBytes[type] ?? this.fail(`'${type}' is not a type of a parameter`)
    while (this.at('.ptr') || /^\.(global|shared|const|local|align)$/.test(this.token.text)) {
      if (this.next().text === '.align') this.number()
    }
    const name = this.word()
    let count = 1
    if (this.take('[')) {
      count = this.number()
      this.expect(']')
    }
    return { name, type, bytes: bytes * count, offset: align(start, Math.max(alignment, bytes)) }
  }

  private statements(body: KernelBody): void {
    body.enterScope()
    while (!this.take('}')) {
      if (this.token.kind === 'end') this.fail('the kernel does not end')
      if (this.take('{')) this.statements(body)
      else if (this.at('.reg')) this.registerDeclaration(body)
      else if (this.take('.shared')) body.addShared(this.sharedVariable(body.staticSharedBytes))
      else if (this.take('.loc')) this.sourceLocation()
      else if (this.take('.pragma')) {
        this.next()
        this.expect(';')
      } else if (this.token.kind === 'word' && this.tokens[this.position + 1]?.text === ':') {
        const label = this.next()
        if (body.labels.has(label.text)) this.fail(`the label ${label.text} is defined twice`, label.line)
        body.labels.set(label.text, body.instructions.length)
        this.next()
      } else this.instruction(body)
    }
    body.leaveScope()
  }

  private registerDeclaration(body: KernelBody): void {
    this.next()
    const typeName = this.word()
    const type = registerTypes[typeName] ?? this.fail(`'${typeName}' is not a register type`)
    do {
      const name = this.word()
      if (this.take('<')) {
        const count = this.number()
        this.expect('>')
        body.declareRange(name, type, count)
      } else body.declare(name, type)
    } while (this.take(','))
    this.expect(';')
  }

  private sourceLocation(): void {
    const first = this.position3()
    let inlinedAt: SourceLocation | undefined
    if (this.take(',')) {
      if (this.word() !== 'function_name') this.fail("'function_name' is expected in .loc")
      this.word()
      if (this.take('+')) this.number()
      this.expect(',')
      if (this.word() !== 'inlined_at') this.fail("'inlined_at' is expected in .loc")
      inlinedAt = this.position3()
    }
    this.location = { ...first, inlinedAt }
  }
  private position3(): SourceLocation {
    const file = this.number()
    const line = this.number()
    const column = this.number()
    return { file: this.files.get(file) ?? `file ${file}`, line, column, inlinedAt: undefined }
  }

  private instruction(body: KernelBody): void {
    const first = this.token
    let guard: RegisterOperand | undefined
    if (this.take('@')) {
      const negated = this.take('!')
      const name = this.word()
      const register = body.find(name) ?? this.fail(`the register ${name} is not declared`)
      if (register.type !== 'pred') this.fail(`the guard ${name} is not a predicate`)
      guard = { kind: 'register', register, negated }
    }
    const spelling = this.word()
    const operands: { operand: Operand; afterPipe: boolean }[] = []
    if (!this.at(';')) {
      operands.push({ operand: this.operand(body), afterPipe: false })
      for (;;) {
        if (this.take(',')) operands.push({ operand: this.operand(body), afterPipe: false })
        else if (this.take('|')) operands.push({ operand: this.operand(body), afterPipe: true })
        else break
      }
    }
    const last = this.token
    this.expect(';')
    const slice = this.text.slice(first.start, last.start)
    const text = last.line > first.line ? slice.replace(/\s+/g, ' ') : slice
    const { form, modifiers, placed } = this.decode(spelling, operands, first.line)
    body.instructions.push({
      index: body.instructions.length,
      op: form.op,
      opcode: spelling,
      form,
      modifiers,
      operands: placed,
      guard,
      text,
      line: first.line,
      location: this.location,
    })
  }

  private decode(
    spelling: string,
    given: readonly { operand: Operand; afterPipe: boolean }[],
    line: number,
  ): Candidate & { readonly placed: (Operand | undefined)[] } {
    const unknown = 'EMULATOR_UNKNOWN_INSTRUCTION'
    const candidates = candidatesOf(spelling)
    for (const { form, modifiers } of candidates) {
      const placed = placeOperands(form, given)
      if (placed) return { form, modifiers, placed }
    }
    if (candidates.length > 0)
      this.fail(`'${spelling}' does not take these ${given.length} operands`, line, unknown)
    const op = spelling.split('.')[0]!
    if (formsOf(op).length > 0)
      this.fail(`the emulator does not know this form of '${op}': '${spelling}'`, line, unknown)
    this.fail(`the emulator does not know the instruction '${spelling}'`, line, unknown)
  }

  private operand(body: KernelBody): Operand {
    if (this.take('{')) {
      const elements: Operand[] = []
      do elements.push(this.operand(body))
      while (this.take(','))
      this.expect('}')
      return { kind: 'vector', elements }
    }
    if (this.take('[')) return this.address(body)
    if (this.take('!')) {
      const operand = this.operand(body)
      if (operand.kind !== 'register') this.fail("'!' belongs before a predicate")
      return { ...operand, negated: true }
    }
    const negative = this.take('-')
    if (this.token.kind === 'number') return numberOperand(this.next().text, negative)
    if (negative) this.fail("a number is expected after '-'")
    const name = this.word()
    if (name === '_') return { kind: 'sink' }
    if (name === 'WARP_SZ') return { kind: 'integer', value: 32n }
    const register = body.find(name)
    if (register) return { kind: 'register', register, negated: false }
    if (specialRegister.test(name)) return { kind: 'special', name }
    if (name.startsWith('%')) this.fail(`the register ${name} is not declared`)
    const isNamed = (variable: { readonly name: string }): boolean => variable.name === name
    if (body.shared.some(isNamed) || body.params.some(isNamed)) {
      const offset = this.take('+') ? this.number() : 0
      return { kind: 'symbol', name, offset }
    }
    return { kind: 'label', name }
  }

  private address(body: KernelBody): AddressOperand {
    let base: AddressOperand['base']
    if (this.token.kind === 'number') base = { kind: 'integer', value: BigInt(this.number()) }
    else {
      const name = this.word()
      const register = body.find(name)
      if (register) base = { kind: 'register', register, negated: false }
      else if (name.startsWith('%')) this.fail(`the register ${name} is not declared`)
      else base = { kind: 'symbol', name, offset: 0 }
    }
    let offset = 0
    if (this.take('+')) offset = this.number()
    else if (this.at('-')) offset = this.number()
    if (this.take(',')) {
      const place = this.operand(body)
      this.expect(']')
      const coordinates = place.kind === 'vector' ? place.elements : [place]
      return { kind: 'address', base, offset, coordinates }
    }
    this.expect(']')
    return { kind: 'address', base, offset }
  }
}

/** A form whose modifiers fit a spelling, and what they are. */
interface Candidate {
  readonly form: Form
  readonly modifiers: Readonly<Record<string, string>>
}

const candidates = new Map<string, readonly Candidate[]>()

/** The forms that a spelling such as `ld.global.v4.u32` may have; kept, because kernels repeat a few of them. */
function candidatesOf(spelling: string): readonly Candidate[] {
  let found = candidates.get(spelling)
  if (!found) {
    const [op, ...words] = spelling.split('.')
    found = formsOf(op!).flatMap((form) => {
      const modifiers = matchModifiers(form, words)
      return modifiers ? [{ form, modifiers }] : []
    })
    candidates.set(spelling, found)
  }
  return found
}

function numberOperand(text: string, negative: boolean): Operand {
  const view = new DataView(new ArrayBuffer(8))
  if (/^0f/i.test(text)) {
    view.setUint32(0, Number.parseInt(text.slice(2), 16) ^ (negative ? 0x80000000 : 0))
    return { kind: 'float', value: view.getFloat32(0), bits: view.getUint32(0) }
  }
  if (/^0d/i.test(text) || text.includes('.')) {
    if (text.includes('.')) view.setFloat64(0, Number(text))
    else view.setBigUint64(0, BigInt(`0x${text.slice(2)}`))
    const value = negative ? -view.getFloat64(0) : view.getFloat64(0)
    view.setFloat32(0, value)
    return { kind: 'float', value, bits: view.getUint32(0) }
  }
  const value = BigInt(text.replace(/U$/, ''))
  return { kind: 'integer', value: negative ? -value : value }
}

/** The operands in the order of the form, or `undefined` when they do not fit. */
function placeOperands(
  form: Form,
  given: readonly { operand: Operand; afterPipe: boolean }[],
): (Operand | undefined)[] | undefined {
  const placed: (Operand | undefined)[] = []
  let next = 0
  for (const spec of form.operands) {
    const candidate = given[next]
    const fits =
      candidate !== undefined &&
      candidate.afterPipe === spec.afterPipe &&
      (candidate.operand.kind === 'address') === spec.isAddress &&
      (candidate.operand.kind === 'address' && candidate.operand.coordinates !== undefined) ===
        spec.hasCoordinates
    if (fits) {
      placed.push(candidate.operand)
      next++
    } else if (spec.optional) placed.push(undefined)
    else return undefined
  }
  return next === given.length ? placed : undefined
}

/** What the statements of one kernel declare. */
class KernelBody {
  readonly registers: Register[] = []
  readonly instructions: Instruction[] = []
  readonly labels = new Map<string, number>()
  readonly shared: SharedVariable[]
  readonly params: readonly KernelParam[]
  staticSharedBytes: number
  private readonly scopes: Map<string, Register>[] = []
  private readonly ranges: { prefix: string; type: RegisterType; count: number; depth: number }[] = []

  constructor(shared: SharedVariable[], staticSharedBytes: number, params: readonly KernelParam[]) {
    this.shared = shared
    this.params = params
    this.staticSharedBytes = staticSharedBytes
  }

  enterScope(): void {
    this.scopes.push(new Map())
  }
  leaveScope(): void {
    this.scopes.pop()
    while (this.ranges.at(-1) && this.ranges.at(-1)!.depth > this.scopes.length) this.ranges.pop()
  }
  declare(name: string, type: RegisterType): Register {
    const register = { id: this.registers.length, name, type }
    this.registers.push(register)
    this.scopes.at(-1)!.set(name, register)
    return register
  }
  /** `%r<n>` declares `%r0` to `%r(n-1)`; each becomes a register when it is first used. */
  declareRange(prefix: string, type: RegisterType, count: number): void {
    this.ranges.push({ prefix, type, count, depth: this.scopes.length })
  }
  find(name: string): Register | undefined {
    for (let depth = this.scopes.length; depth > 0; depth--) {
      const register = this.scopes[depth - 1]!.get(name)
      if (register) return register
      for (const range of this.ranges) {
        if (range.depth !== depth || !name.startsWith(range.prefix)) continue
        const suffix = name.slice(range.prefix.length)
        if (!/^(0|[1-9]\d*)$/.test(suffix) || Number(suffix) >= range.count) continue
        const made = { id: this.registers.length, name, type: range.type }
        this.registers.push(made)
        this.scopes[depth - 1]!.set(name, made)
        return made
      }
    }
    return undefined
  }
  addShared(variable: SharedVariable): void {
    this.shared.push(variable)
    this.staticSharedBytes = variable.offset + variable.bytes
  }
}
