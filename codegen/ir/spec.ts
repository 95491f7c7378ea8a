import { mmaAtoms } from './atoms.ts'
import type { Attributes, Instruction, Operand, ValueType } from './op.ts'
import { asyncOps } from './spec-async.ts'
import { warpgroupOps } from './spec-warpgroups.ts'
import { isInteger, sameWidth, valueBits } from './value.ts'

/** Threads that come to an operation together. */
export type Scope = 'warp' | 'warpgroup' | 'cta' | 'cluster'

/**
 * The grammar of the IR: what each operation takes and gives.
 *
 * `results` and `args` are patterns of types: a type's name, or a variable that `where` binds to one of several types
 * and that means the same type throughout the instruction; `+` after an item is one or more, `?` none or one.
 *
 *     add: { results: 'T', args: 'T T', where: { T: 'i32 u32 f32' } }
 *
 * An effect says what passes may do with an instruction:
 *
 * - `none`: its results depend on arguments and attributes alone; it may be merged, moved and deleted.
 * - `read`: its results depend on memory or on other lanes as well; it stays where it is, and may be deleted.
 * - `write`: it changes something; it stays.
 *
 * A scope says which threads must come to it together: all lanes of a `warp`, the four warps of a `warpgroup`, all threads
 * of the `cta`, or those of all CTAs of the `cluster`.
 */
export interface OpSpec {
  readonly results: string
  readonly args: string
  readonly where?: Readonly<Record<string, string>>
  /** Values that each attribute may take; a name ending in `?` may be absent. */
  readonly attributes?: Readonly<Record<string, readonly string[] | 'integer' | 'boolean' | 'text'>>
  readonly effect: 'none' | 'read' | 'write'
  readonly scope?: Scope
  /** A result that is an argument as well is updated where it is: both are one register, whatever a pass knows of it. */
  readonly inPlace?: boolean
  /** Rules that a pattern cannot say: a sentence when broken. */
  readonly check?: (instruction: Instruction) => string | undefined
}

const ints = 'i32 u32'
const halves = 'f16 bf16 f16x2 bf16x2'
const words = 'i32 u32 f32 f16x2 bf16x2'
const stored = `i8 u8 f16 bf16 ${words}`
const everything = `bool address u64 ${stored}`

const unary = (types: string): OpSpec => ({ results: 'T', args: 'T', where: { T: types }, effect: 'none' })
const binary = (types: string): OpSpec => ({ results: 'T', args: 'T T', where: { T: types }, effect: 'none' })
const ternary = (types: string): OpSpec => ({
  results: 'T',
  args: 'T T T',
  where: { T: types },
  effect: 'none',
})

const spaces = ['global', 'shared'] as const
/** `cluster`: shared memory of another CTA of the cluster. */
const allSpaces = [...spaces, 'cluster'] as const
const specialNames = [
  ...['tid', 'ctaid', 'nctaid'].flatMap((name) => ['x', 'y', 'z'].map((axis) => `${name}.${axis}`)),
  'laneid',
  'cluster_ctarank',
]

/** Bytes of a vector access: 1, 2, 4, 8 or 16, of one, two or four elements. */
function checkAccess(address: ValueType, space: string, values: readonly ValueType[]): string | undefined {
  const wanted = space === 'global' ? 'address' : 'u32'
  if (address !== wanted) return `an address in ${space} memory is of type ${wanted}`
  if (![1, 2, 4].includes(values.length)) return 'a vector has 1, 2 or 4 elements'
  if ((valueBits[values[0]!] / 8) * values.length > 16) return 'one access covers 16 bytes at most'
  return undefined
}

function checkMma({ results, args, attributes }: Instruction): string | undefined {
  const atom = mmaAtoms[attributes.atom as string]
  if (!atom) return `there is no atom ${attributes.atom}`
  const [c, a, b] = [atom.c.registers, atom.a.registers, atom.b.registers]
  if (results.length !== c) return `the atom gives ${c} registers`
  if (args.length !== c + a + b) return `the atom takes ${c} + ${a} + ${b} registers`
  if ([...results, ...args.slice(0, c)].some(({ type }) => type !== atom.c.dtype))
    return `accumulators are of type ${atom.c.dtype}`
  if (args.slice(c).some(({ type }) => type !== 'u32')) return 'fragments are of type u32'
  return undefined
}

/** Conversions go between numbers and from or to `bool`; pairs are packed and unpacked. */
function checkConvert({ results, args, attributes }: Instruction): string | undefined {
  const [to, from] = [results[0]!.type, args[0]!.type]
  const isFloat = (type: ValueType) => type === 'f32' || type === 'f16' || type === 'bf16'
  if (attributes.saturate && isFloat(to)) return 'only integers saturate'
  if (attributes.rounding === 'rn' && !isFloat(to)) return 'rn rounds to a float; rni rounds to an integer'
  if (/^r.i$/.test(String(attributes.rounding ?? '')) && !(isFloat(from) && !isFloat(to)))
    return 'rni, rzi, rmi and rpi round a float to an integer'
  return undefined
}

export const ops: Readonly<Record<string, OpSpec>> = {
  // ---- where values come from
  param: {
    results: 'T',
    args: '',
    where: { T: 'address i32 u32 f32' },
    attributes: { index: 'integer' },
    effect: 'none',
  },
  special: { results: 'i32', args: '', attributes: { name: specialNames }, effect: 'none' },
  /** The address of a shared variable; `allocateShared` turns it into `sharedWindow` plus its offset. */
  sharedAddress: { results: 'u32', args: '', attributes: { variable: 'integer' }, effect: 'none' },
  sharedWindow: { results: 'u32', args: '', effect: 'none' },
  move: unary(everything),

  // ---- arithmetic
  add: binary(`${ints} f32 ${halves} address u64`),
  sub: binary(`${ints} f32 ${halves}`),
  mul: binary(`${ints} f32 ${halves}`),
  min: binary(`${ints} f32 ${halves}`),
  max: binary(`${ints} f32 ${halves}`),
  /** Integers truncate towards zero; `f32` rounds to nearest even. */
  div: binary(`${ints} f32`),
  rem: binary(ints),
  neg: unary(`i32 f32 ${halves}`),
  abs: unary(`i32 f32 ${halves}`),
  and: binary(`${ints} bool`),
  or: binary(`${ints} bool`),
  xor: binary(`${ints} bool`),
  not: unary(`${ints} bool`),
  /** Counts of 32 and more give 0, or the sign for an arithmetic right shift. */
  shl: { results: 'T', args: 'T S', where: { T: ints, S: ints }, effect: 'none' },
  shr: {
    results: 'T',
    args: 'T S',
    where: { T: ints, S: ints },
    attributes: { arithmetic: 'boolean' },
    effect: 'none',
  },
  mulHi: binary(ints),
  /** The 64-bit product, sign-extended for `i32` and zero-extended for `u32`. */
  mulWide: { results: 'address', args: 'T T', where: { T: ints }, effect: 'none' },
  madWide: { results: 'address', args: 'T T address', where: { T: ints }, effect: 'none' },
  mad: ternary(ints),
  fma: ternary(`f32 ${halves}`),
  compare: {
    results: 'bool',
    args: 'T T',
    where: { T: `${ints} f32 f16` },
    attributes: { relation: ['eq', 'ne', 'lt', 'le', 'gt', 'ge'] },
    effect: 'none',
  },
  select: { results: 'T', args: 'bool T T', where: { T: everything }, effect: 'none' },
  convert: {
    results: 'T',
    args: 'S',
    where: { T: `bool i8 u8 f16 bf16 ${ints} f32`, S: `bool i8 u8 f16 bf16 ${ints} f32` },
    attributes: { 'rounding?': ['', 'rn', 'rni', 'rzi', 'rmi', 'rpi'], 'saturate?': 'boolean' },
    effect: 'none',
    check: checkConvert,
  },
  bitcast: {
    results: 'T',
    args: 'S',
    where: { T: stored, S: stored },
    effect: 'none',
    check: ({ results, args }) =>
      sameWidth(results[0]!.type, args[0]!.type) ? undefined : 'a bitcast keeps the width',
  },
  rsqrt: unary('f32'),
  rcp: unary('f32'),
  sqrt: unary('f32'),
  exp2: unary('f32'),
  exp2Flushing: unary('f32'),
  log2: unary('f32'),
  sin: unary('f32'),
  cos: unary('f32'),
  tanh: unary('f32'),
  round: unary('f32'),
  floor: unary('f32'),
  ceil: unary('f32'),

  // ---- bits and pairs
  pack2: {
    results: 'P',
    args: 'H H',
    where: { P: 'f16x2 bf16x2', H: 'f16 bf16' },
    effect: 'none',
    check: ({ results, args }) => checkPair(results[0]!.type, args[0]!.type),
  },
  unpack2: {
    results: 'H H',
    args: 'P',
    where: { P: 'f16x2 bf16x2', H: 'f16 bf16' },
    effect: 'none',
    check: ({ results, args }) => checkPair(args[0]!.type, results[0]!.type),
  },
  packFloats: { results: 'P', args: 'f32 f32', where: { P: 'f16x2 bf16x2' }, effect: 'none' },
  dp4a: {
    results: 'i32',
    args: 'u32 u32 i32',
    attributes: { a: ['i8', 'u8'], b: ['i8', 'u8'] },
    effect: 'none',
  },
  permuteBytes: { results: 'u32', args: 'u32 u32 u32', effect: 'none' },
  lop3: {
    results: 'u32',
    args: 'u32 u32 u32',
    attributes: { table: 'integer' },
    effect: 'none',
    check: ({ attributes }) => ((attributes.table as number) >>> 8 ? 'a truth table has 8 bits' : undefined),
  },
  funnelShift: {
    results: 'u32',
    args: 'u32 u32 S',
    where: { S: ints },
    attributes: { direction: ['left', 'right'] },
    effect: 'none',
  },
  popCount: { results: 'i32', args: 'u32', effect: 'none' },
  leadingZeros: { results: 'i32', args: 'u32', effect: 'none' },

  // ---- memory
  load: {
    results: 'T+',
    args: 'A',
    where: { T: stored, A: 'address u32' },
    attributes: { space: allSpaces, 'offset?': 'integer', 'cache?': ['', 'ca', 'cg', 'cs', 'nc', 'relaxed'] },
    effect: 'read',
    check: ({ results, args, attributes }) =>
      attributes.space !== 'global' && attributes.cache
        ? 'cache operators are for global memory'
        : checkAccess(args[0]!.type, attributes.space as string, types(results)),
  },
  store: {
    results: '',
    args: 'A T+',
    where: { T: stored, A: 'address u32' },
    attributes: { space: allSpaces, 'offset?': 'integer', 'cache?': ['', 'cg', 'cs', 'relaxed'] },
    effect: 'write',
    check: ({ args, attributes }) =>
      attributes.space !== 'global' && attributes.cache
        ? 'cache operators are for global memory'
        : checkAccess(args[0]!.type, attributes.space as string, types(args.slice(1))),
  },
  /** The optional operand is how many bytes are read; the rest of `bytes` is filled with zeros. */
  copyAsync: {
    results: '',
    args: 'u32 address S?',
    where: { S: ints },
    attributes: {
      bytes: 'integer',
      'cache?': ['ca', 'cg'],
      'sharedOffset?': 'integer',
      'globalOffset?': 'integer',
    },
    effect: 'write',
    check: ({ attributes }) => {
      if (![4, 8, 16].includes(attributes.bytes as number)) return 'a copy has 4, 8 or 16 bytes'
      return attributes.cache === 'cg' && attributes.bytes !== 16 ? 'cg copies 16 bytes' : undefined
    },
  },
  commitCopies: { results: '', args: '', effect: 'write' },
  waitCopies: { results: '', args: '', attributes: { pending: 'integer' }, effect: 'write' },
  ldmatrix: {
    results: 'u32+',
    args: 'u32',
    attributes: { 'transposed?': 'boolean', 'offset?': 'integer' },
    effect: 'read',
    scope: 'warp',
    check: ({ results }) => ([1, 2, 4].includes(results.length) ? undefined : 'it loads 1, 2 or 4 tiles'),
  },
  atomic: {
    results: 'T?',
    args: 'A T T?',
    where: { T: `${ints} f32`, A: 'address u32' },
    attributes: {
      space: spaces,
      'offset?': 'integer',
      fn: ['add', 'max', 'min', 'exchange', 'cas'],
    },
    effect: 'write',
    check: checkAtomic,
  },
  /** Adds to neighbouring floats in device memory. */
  reduce: {
    results: '',
    args: 'A T+',
    where: { T: 'f32', A: 'address' },
    attributes: { 'offset?': 'integer' },
    effect: 'write',
    check: ({ args }) => ([1, 2, 4].includes(args.length - 1) ? undefined : 'it adds 1, 2 or 4 floats'),
  },

  // ---- threads together
  barrier: { results: '', args: '', effect: 'write', scope: 'cta' },
  syncWarp: { results: '', args: '', effect: 'write', scope: 'warp' },
  threadFence: { results: '', args: '', effect: 'write' },
  shuffle: {
    results: 'T',
    args: 'T S',
    where: { T: words, S: ints },
    attributes: { mode: ['xor', 'down', 'up', 'index'] },
    effect: 'read',
    scope: 'warp',
  },
  vote: {
    results: 'bool',
    args: 'bool',
    attributes: { mode: ['all', 'any'] },
    effect: 'read',
    scope: 'warp',
  },
  ballot: { results: 'u32', args: 'bool', effect: 'read', scope: 'warp' },
  redux: {
    results: 'T',
    args: 'T',
    where: { T: ints },
    attributes: { fn: ['add', 'max', 'min'] },
    effect: 'read',
    scope: 'warp',
  },
  /** D = A·B + C; args are C, A, B in registers, and results may be the registers of C. */
  mma: {
    results: 'C+',
    args: 'X+',
    where: { C: 'i32 f32', X: 'i32 f32 u32' },
    attributes: { atom: Object.keys(mmaAtoms) },
    effect: 'read',
    scope: 'warp',
    check: checkMma,
  },
  ...asyncOps,
  ...warpgroupOps,
}

const types = (operands: readonly { type: ValueType }[]): ValueType[] => operands.map(({ type }) => type)

function checkPair(pair: ValueType, half: ValueType): string | undefined {
  return pair === `${half}x2` ? undefined : `a pair of ${half} is of type ${half}x2`
}

function checkAtomic({ args, attributes }: Instruction): string | undefined {
  const wanted = attributes.space === 'global' ? 'address' : 'u32'
  if (args[0]!.type !== wanted) return `an address in ${attributes.space} memory is of type ${wanted}`
  if ((args.length === 3) !== (attributes.fn === 'cas'))
    return 'cas takes the expected and the new value, the others one value'
  if (!isInteger(args[1]!.type) && attributes.fn !== 'add') return 'f32 atomics only add'
  return undefined
}

/** An integer attribute that may be absent, which means 0. */
export const integerOf = (attributes: Attributes, name: string): number => (attributes[name] ?? 0) as number

/** Whether an argument is a register that the instruction updates where it is. */
export const isUpdated = ({ op, results }: Instruction, arg: Operand): boolean =>
  ops[op]!.inPlace === true && arg.kind === 'register' && results.some(({ id }) => id === arg.id)

/** Whether the instruction's results depend on its arguments and attributes alone. */
export const isPure = (instruction: Instruction): boolean => ops[instruction.op]?.effect === 'none'
