import { mmaAtoms } from '../ir/atoms.ts'
import type { Instruction, Operand, ValueType } from '../ir/op.ts'
import { integerOf } from '../ir/spec.ts'
import { immediate } from '../ir/value.ts'
import { asyncWriters } from './async.ts'
import { writeConvert } from './convert.ts'
import { elementNames } from './elements.ts'
import { address, vector } from './operands.ts'
import { untyped } from './registers.ts'
import { warpgroupWriters } from './warpgroups.ts'
import type { Writer } from './writer.ts'

type Write = (w: Writer, instruction: Instruction) => void

/** Types as arithmetic names them. */
const arithmetic: Readonly<Partial<Record<ValueType, string>>> = {
  bool: 'pred',
  i32: 's32',
  u32: 'u32',
  f32: 'f32',
  f16: 'f16',
  bf16: 'bf16',
  f16x2: 'f16x2',
  bf16x2: 'bf16x2',
  address: 's64',
  u64: 'u64',
}

/** Types of elements in memory; loads of bytes extend by their sign. */
const loaded = (type: ValueType): string => (type === 'i8' ? 's8' : type === 'u8' ? 'u8' : untyped[type])
const stored = (type: ValueType): string => (type === 'i8' || type === 'u8' ? 'b8' : untyped[type])

const isHalf = (type: ValueType): boolean => type.startsWith('f16') || type.startsWith('bf16')

/** Operands of arithmetic: halves and pairs have no immediates. */
const arith = (w: Writer, operand: Operand): string =>
  isHalf(operand.type) || operand.type === 'bool' ? w.inRegister(operand) : w.operand(operand)

const fullWarp = '0xffffffff'

/** `op.type d, a, …`; floats that round say so. */
function plain(mnemonic: string, rounds = false): Write {
  return (w, { results, args }) => {
    const type = results[0]!.type
    const isFloat = type === 'f32' || isHalf(type)
    const name = `${mnemonic}${rounds && isFloat ? '.rn' : ''}.${arithmetic[type]}`
    w.line(name, w.name(results[0]!), ...args.map((arg) => arith(w, arg)))
  }
}

/**
 * `add`, `sub` and `mul`. Targets below sm_90 have no bf16 forms, but a fused multiply-add that rounds once:
 * a + b = a·1 + b, a − b = b·(−1) + a, a·b = a·b + (−0), bit for bit.
 */
function sumOrProduct(op: 'add' | 'sub' | 'mul'): Write {
  const direct = plain(op, true)
  return (w, instruction) => {
    const { results, args } = instruction
    const type = results[0]!.type
    if (!type.startsWith('bf16') || w.target.capability >= 90) return direct(w, instruction)
    const [a, b] = args.map((arg) => w.inRegister(arg)) as [string, string]
    const constant = (half: number): string =>
      w.inRegister(type === 'bf16' ? immediate('bf16', half) : immediate(type, pairOf(half)))
    const factors = {
      add: [a, constant(1), b],
      sub: [b, constant(-1), a],
      mul: [a, b, constant(-0)],
    }[op]
    w.line(`fma.rn.${type}`, w.name(results[0]!), ...factors)
  }
}

/** Bits of a pair of bf16 with both halves ±1 or −0. */
const pairOf = (half: number): number =>
  Object.is(half, -0) ? 0x8000_8000 : half === 1 ? 0x3f80_3f80 : 0xbf80_bf80

/** `op.b32` or `op.pred`. */
function logic(mnemonic: string): Write {
  return (w, { results, args }) => {
    const type = results[0]!.type === 'bool' ? 'pred' : 'b32'
    w.line(`${mnemonic}.${type}`, w.name(results[0]!), ...args.map((arg) => arith(w, arg)))
  }
}

/** An instruction of one form. */
function fixed(mnemonic: string): Write {
  return (w, { results, args }) =>
    w.line(mnemonic, ...results.map((r) => w.name(r)), ...args.map((arg) => w.operand(arg)))
}

function move(w: Writer, { results, args }: Instruction): void {
  w.line(`mov.${untyped[results[0]!.type]}`, w.name(results[0]!), w.operand(args[0]!))
}

function select(w: Writer, { results, args }: Instruction): void {
  const result = results[0]!
  const [condition, a, b] = args as [Operand, Operand, Operand]
  if (result.type !== 'bool') {
    const p = w.inRegister(condition)
    w.line(`selp.${untyped[result.type]}`, w.name(result), w.operand(a), w.operand(b), p)
    return
  }
  const p = w.inRegister(condition)
  const [whenTrue, whenFalse] = [w.registers.fresh('bool'), w.registers.fresh('bool')]
  w.line('and.pred', whenTrue, p, w.inRegister(a))
  w.line('not.pred', whenFalse, p)
  w.line('and.pred', whenFalse, whenFalse, w.inRegister(b))
  w.line('or.pred', w.name(result), whenTrue, whenFalse)
}

const width = (count: number): string => (count === 1 ? '' : `.v${count}`)
/** Shared memory of another CTA has a space of its own. */
const spaceOf = (space: unknown): unknown => (space === 'cluster' ? 'shared::cluster' : space)
/** Space and cache behaviour of an access; an order among CTAs stands before the space. */
const placeOf = (space: unknown, cache: unknown): string => {
  if (cache === 'relaxed') return `relaxed.gpu.${spaceOf(space)}`
  return `${spaceOf(space)}${cache ? `.${cache}` : ''}`
}

function load(w: Writer, { results, args, attributes }: Instruction): void {
  const { space, cache } = attributes
  const type = loaded(results[0]!.type)
  w.line(
    `ld.${placeOf(space, cache)}${width(results.length)}.${type}`,
    vector(results.map((r) => w.name(r))),
    address(w, args[0]!, integerOf(attributes, 'offset')),
  )
}

function store(w: Writer, { args, attributes }: Instruction): void {
  const { space, cache } = attributes
  const [base, ...values] = args as [Operand, ...Operand[]]
  w.line(
    `st.${placeOf(space, cache)}${width(values.length)}.${stored(values[0]!.type)}`,
    address(w, base, integerOf(attributes, 'offset')),
    vector(values.map((value) => w.operand(value))),
  )
}

function copyAsync(w: Writer, { args, attributes }: Instruction): void {
  const [dst, src, source] = args as [Operand, Operand, Operand?]
  w.line(
    `cp.async.${attributes.cache ?? 'ca'}.shared.global`,
    address(w, dst, integerOf(attributes, 'sharedOffset')),
    address(w, src, integerOf(attributes, 'globalOffset')),
    String(attributes.bytes),
    ...(source ? [w.operand(source)] : []),
  )
}

function atomic(w: Writer, { results, args, attributes }: Instruction): void {
  const [base, ...values] = args as [Operand, ...Operand[]]
  const type = values[0]!.type
  const { space, fn } = attributes
  const action = fn === 'exchange' ? 'exch.b32' : fn === 'cas' ? 'cas.b32' : `${fn}.${arithmetic[type]}`
  w.line(
    `atom.${space}.${action}`,
    results[0] ? w.name(results[0]) : w.registers.fresh(type),
    address(w, base, integerOf(attributes, 'offset')),
    ...values.map((value) => w.operand(value)),
  )
}

function reduce(w: Writer, { args, attributes }: Instruction): void {
  const [base, ...values] = args as [Operand, ...Operand[]]
  w.line(
    `red.relaxed.gpu.global.add${width(values.length)}.f32`,
    address(w, base, integerOf(attributes, 'offset')),
    vector(values.map((value) => w.inRegister(value))),
  )
}

/** The last lane's number, and for `up` the first's: lanes beyond keep their own value. */
const shuffleModes = {
  xor: ['bfly', '31'],
  down: ['down', '31'],
  up: ['up', '0'],
  index: ['idx', '31'],
} as const

function shuffle(w: Writer, { results, args, attributes }: Instruction): void {
  const [mode, clamp] = shuffleModes[attributes.mode as keyof typeof shuffleModes]
  const [value, lane] = args as [Operand, Operand]
  w.line(`shfl.sync.${mode}.b32`, w.name(results[0]!), w.inRegister(value), w.operand(lane), clamp, fullWarp)
}

function mma(w: Writer, { results, args, attributes }: Instruction): void {
  const atom = mmaAtoms[attributes.atom as string]!
  const [c, a] = [atom.c.registers, atom.a.registers]
  const group = (operands: readonly Operand[]) => `{${operands.map((o) => w.inRegister(o)).join(', ')}}`
  const d = elementNames[atom.c.dtype]
  w.line(
    `mma.sync.aligned.m${atom.m}n${atom.n}k${atom.k}.row.col.${d}.${elementNames[atom.a.dtype]}.${elementNames[atom.b.dtype]}.${d}`,
    group(results),
    group(args.slice(c, c + a)),
    group(args.slice(c + a)),
    group(args.slice(0, c)),
  )
}

/** How each operation is written, in the order of `ir/spec.ts`. */
const writers: Readonly<Record<string, Write>> = {
  param: (w, { results, attributes }) => {
    const { type } = results[0]!
    const ptx = type === 'address' ? 'u64' : untyped[type]
    w.line(`ld.param.${ptx}`, w.name(results[0]!), `[param_${attributes.index}]`)
  },
  special: (w, { results, attributes }) => {
    const name = `%${attributes.name}`
    w.need(name)
    w.line('mov.u32', w.name(results[0]!), name)
  },
  sharedWindow: (w, { results }) => w.line('mov.u32', w.name(results[0]!), 'shared_window'),
  move,
  add: sumOrProduct('add'),
  sub: sumOrProduct('sub'),
  mul: (w, instruction) =>
    arithmetic[instruction.results[0]!.type]!.endsWith('32') && instruction.results[0]!.type !== 'f32'
      ? plain('mul.lo')(w, instruction)
      : sumOrProduct('mul')(w, instruction),
  min: plain('min'),
  max: plain('max'),
  div: plain('div', true),
  rem: plain('rem'),
  neg: plain('neg'),
  abs: plain('abs'),
  and: logic('and'),
  or: logic('or'),
  xor: logic('xor'),
  not: logic('not'),
  shl: fixed('shl.b32'),
  shr: (w, instruction) => fixed(`shr.${instruction.attributes.arithmetic ? 's32' : 'u32'}`)(w, instruction),
  mulHi: plain('mul.hi'),
  mulWide: (w, instruction) => fixed(`mul.wide.${arithmetic[instruction.args[0]!.type]}`)(w, instruction),
  madWide: (w, instruction) => fixed(`mad.wide.${arithmetic[instruction.args[0]!.type]}`)(w, instruction),
  mad: plain('mad.lo'),
  fma: plain('fma', true),
  compare: (w, { results, args, attributes }) => {
    const { type } = args[0]!
    const isFloat = type === 'f32' || isHalf(type)
    const relation = isFloat && attributes.relation === 'ne' ? 'neu' : attributes.relation
    w.line(`setp.${relation}.${arithmetic[type]}`, w.name(results[0]!), ...args.map((arg) => arith(w, arg)))
  },
  select,
  convert: writeConvert,
  bitcast: (w, { results, args }) => {
    const type = untyped[results[0]!.type]
    w.line(`mov.${type === 'f32' ? 'b32' : type}`, w.name(results[0]!), w.inRegister(args[0]!))
  },
  rsqrt: fixed('rsqrt.approx.f32'),
  rcp: fixed('rcp.approx.f32'),
  sqrt: fixed('sqrt.rn.f32'),
  exp2: fixed('ex2.approx.f32'),
  exp2Flushing: fixed('ex2.approx.ftz.f32'),
  log2: fixed('lg2.approx.f32'),
  sin: fixed('sin.approx.f32'),
  cos: fixed('cos.approx.f32'),
  tanh: fixed('tanh.approx.f32'),
  round: fixed('cvt.rni.f32.f32'),
  floor: fixed('cvt.rmi.f32.f32'),
  ceil: fixed('cvt.rpi.f32.f32'),
  pack2: (w, { results, args }) =>
    w.line('mov.b32', w.name(results[0]!), `{${args.map((arg) => w.inRegister(arg)).join(', ')}}`),
  unpack2: (w, { results, args }) =>
    w.line('mov.b32', `{${results.map((r) => w.name(r)).join(', ')}}`, w.inRegister(args[0]!)),
  /** `cvt` takes the upper half first. */
  packFloats: (w, { results, args }) =>
    w.line(`cvt.rn.${results[0]!.type}.f32`, w.name(results[0]!), w.operand(args[1]!), w.operand(args[0]!)),
  dp4a: (w, instruction) => {
    const sign = (name: string) => (instruction.attributes[name] === 'i8' ? 's32' : 'u32')
    fixed(`dp4a.${sign('a')}.${sign('b')}`)(w, instruction)
  },
  permuteBytes: fixed('prmt.b32'),
  lop3: (w, { results, args, attributes }) =>
    w.line('lop3.b32', w.name(results[0]!), ...args.map((arg) => w.operand(arg)), String(attributes.table)),
  funnelShift: (w, instruction) =>
    fixed(`shf.${instruction.attributes.direction === 'left' ? 'l' : 'r'}.wrap.b32`)(w, instruction),
  popCount: fixed('popc.b32'),
  leadingZeros: fixed('clz.b32'),
  load,
  store,
  copyAsync,
  commitCopies: (w) => w.line('cp.async.commit_group'),
  waitCopies: (w, { attributes }) => w.line('cp.async.wait_group', String(attributes.pending)),
  ldmatrix: (w, { results, args, attributes }) =>
    w.line(
      `ldmatrix.sync.aligned.m8n8.x${results.length}${attributes.transposed ? '.trans' : ''}.shared.b16`,
      `{${results.map((r) => w.name(r)).join(', ')}}`,
      address(w, args[0]!, integerOf(attributes, 'offset')),
    ),
  atomic,
  reduce,
  barrier: (w) => w.line('bar.sync', '0'),
  syncWarp: (w) => w.line('bar.warp.sync', fullWarp),
  threadFence: (w) => w.line('fence.acq_rel.gpu'),
  shuffle,
  vote: (w, { results, args, attributes }) =>
    w.line(`vote.sync.${attributes.mode}.pred`, w.name(results[0]!), w.inRegister(args[0]!), fullWarp),
  ballot: (w, { results, args }) =>
    w.line('vote.sync.ballot.b32', w.name(results[0]!), w.inRegister(args[0]!), fullWarp),
  redux: (w, { results, args, attributes }) =>
    w.line(
      `redux.sync.${attributes.fn}.${arithmetic[results[0]!.type]}`,
      w.name(results[0]!),
      w.inRegister(args[0]!),
      fullWarp,
    ),
  mma,
  ...asyncWriters,
  ...warpgroupWriters,
}

/** Writes one instruction of the IR, which may take several of PTX. */
export function writeInstruction(w: Writer, instruction: Instruction): void {
  writers[instruction.op]!(w, instruction)
}
