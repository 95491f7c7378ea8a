import type { DType } from './dtype.ts'
import type { Layout } from './layout/index.ts'
import {
  type bf16,
  type bf16x2,
  deviceOnly,
  type f16,
  type f16x2,
  type f32,
  type i32,
  type u32,
} from './scalars.ts'
import type { In, InOut, Out, Shared } from './tensor.ts'

/**
 * What a kernel may call: each function becomes the PTX that its comment names. On the host they only throw.
 * Verbs take their destination first.
 */

interface Index3 {
  readonly x: i32
  readonly y: i32
  readonly z: i32
}

function index3(name: string): Index3 {
  return new Proxy({} as Index3, { get: (_, axis) => deviceOnly(`${name}.${String(axis)}`) })
}

// ---- where a thread is -------------------------------------------------------------------------------------------

/** `%tid` */
export const threadIdx: Index3 = index3('threadIdx')
/** `%ctaid` */
export const blockIdx: Index3 = index3('blockIdx')
/** Threads of a CTA: static. */
export const blockDim: Index3 = index3('blockDim')
/** `%nctaid` */
export const gridDim: Index3 = index3('gridDim')
/** The lane within the warp, `threadIdx.x & 31`. */
export const laneIdx: i32 = 0
/** The warp within the CTA, `threadIdx.x >> 5`; the same in all lanes of a warp. */
export const warpIdx: i32 = 0
/** The compilation target: static. */
export const target: { readonly name: string; readonly capability: number; readonly sharedBytes: number } = {
  name: '',
  capability: 0,
  sharedBytes: 0,
}

// ---- control -----------------------------------------------------------------------------------------------------

/** A run-time loop: `range(end)`, `range(start, end)` or `range(start, end, step)` with a positive step. */
export function range(_start: i32, _end?: i32, _step?: i32): Iterable<i32> {
  return deviceOnly('range')
}
/** A loop unrolled while compiling: `unroll(end)`, `unroll(start, end)` or `unroll(start, end, step)`. */
export function unroll(_start: number, _end?: number, _step?: number): Iterable<number> {
  return deviceOnly('unroll')
}
/** Refuses to compile with the author's sentence when a static condition does not hold. */
export function staticAssert(_condition: boolean, _why: string): void {
  deviceOnly('staticAssert')
}

// ---- registers and shared memory ---------------------------------------------------------------------------------

/** A static array of `n` registers that may be assigned under run-time control: `acc[i] = …` with a static `i`. */
export function regs<T extends number>(_n: number, _init: T): T[] {
  return deviceOnly('regs')
}
/** A static array of `n` values: `each(4, i => f(i))`. */
export function each<T>(_n: number, _f: (i: number) => T): T[] {
  return deviceOnly('each')
}
/** Shared memory for a tile: a shape (row-major) or a layout, which may be swizzled. 16-byte aligned at least. */
export function shared<T extends number>(_dtype: DType, _shape: readonly number[] | Layout): Shared<T> {
  return deviceOnly('shared')
}
/**
 * Another tile over the memory of a whole tile, from its first byte on: when the one is no longer used, or to see the same
 * elements in another shape. It may not be longer.
 */
export function overlay<T extends number>(
  _below: Shared<number>,
  _dtype: DType,
  _shape: readonly number[] | Layout,
): Shared<T> {
  return deviceOnly('overlay')
}

// ---- memory ------------------------------------------------------------------------------------------------------

/**
 * Cache behaviour of a global access: `.ca` everywhere, `.cg` L2 only, `.cs` streaming, `.nc` read-only path. `relaxed` is
 * `ld.relaxed.gpu` and `st.relaxed.gpu`: words that CTAs give each other while both run, each of them whole, in no order.
 */
export interface Access {
  readonly cache?: 'ca' | 'cg' | 'cs' | 'nc' | 'relaxed'
}
type Source<T> = In<T, string, string> | InOut<T, string, string> | Shared<T>
type Destination<T> = Out<T, string, string> | InOut<T, string, string> | Shared<T>

/** `n` consecutive elements along the last dimension, in vector loads as wide as `n` allows (16 bytes at most). */
export function load<T>(_src: Source<T>, _index: readonly i32[], _n: number, _access?: Access): T[] {
  return deviceOnly('load')
}
/** As `load`, but of 32-bit words over elements of any type: `n` words from the element at `index`. */
export function loadWords(_src: Source<number>, _index: readonly i32[], _n: number, _access?: Access): u32[] {
  return deviceOnly('loadWords')
}
/** Stores consecutive elements along the last dimension in vector stores. */
export function store<T>(
  _dst: Destination<T>,
  _index: readonly i32[],
  _values: readonly T[],
  _access?: Access,
): void {
  deviceOnly('store')
}
/** Stores 32-bit words over elements of any type. */
export function storeWords(
  _dst: Destination<number>,
  _index: readonly i32[],
  _words: readonly u32[],
  _access?: Access,
): void {
  deviceOnly('storeWords')
}
/**
 * `cp.async`: copies 4, 8 or 16 bytes from global to shared memory without registers. Where `valid` is false nothing
 * is read and zeros are written.
 */
export function copyAsync<T>(
  _dst: Shared<T>,
  _dstIndex: readonly i32[],
  _src: In<T, string, string> | InOut<T, string, string>,
  _srcIndex: readonly i32[],
  _bytes: 4 | 8 | 16,
  _valid?: boolean,
): void {
  deviceOnly('copyAsync')
}
/** `cp.async.commit_group` */
export function commitCopies(): void {
  deviceOnly('commitCopies')
}
/** `cp.async.wait_group n`: waits until at most `n` committed groups are pending. */
export function waitCopies(_pending: number): void {
  deviceOnly('waitCopies')
}
/** `ldmatrix`: `count` 8×8 tiles of 16-bit elements; each lane gives the address of one 16-byte row. */
export function ldmatrix<T>(
  _tile: Shared<T>,
  _index: readonly i32[],
  _count: 1 | 2 | 4,
  _options?: { readonly transposed?: boolean },
): u32[] {
  return deviceOnly('ldmatrix')
}
/**
 * `red.add`: adds f32 side by side to tensors whose words of 32 bits are f32, each on its own and in no order beside other
 * threads'; nothing waits for the sums. Two or four at once from sm_90 on. Numbers below 2⁻¹²⁶ count as zeros.
 */
export function addFloats(
  _dst: InOut<unknown, string, string>,
  _index: readonly i32[],
  _values: readonly f32[],
): void {
  deviceOnly('addFloats')
}
/** `atom.add`; returns the old value. */
export function atomicAdd<T extends i32 | u32 | f32>(
  _dst: InOut<T, string, string> | Shared<T>,
  _index: readonly i32[],
  _value: T,
): T {
  return deviceOnly('atomicAdd')
}
/** `atom.max`; returns the old value. */
export function atomicMax<T extends i32 | u32>(
  _dst: InOut<T, string, string> | Shared<T>,
  _index: readonly i32[],
  _value: T,
): T {
  return deviceOnly('atomicMax')
}
/** `atom.min`; returns the old value. */
export function atomicMin<T extends i32 | u32>(
  _dst: InOut<T, string, string> | Shared<T>,
  _index: readonly i32[],
  _value: T,
): T {
  return deviceOnly('atomicMin')
}
/** `atom.exch`; returns the old value. */
export function atomicExchange<T extends i32 | u32>(
  _dst: InOut<T, string, string> | Shared<T>,
  _index: readonly i32[],
  _value: T,
): T {
  return deviceOnly('atomicExchange')
}
/** `atom.cas`: stores `value` where `expected` stands; returns the old value. */
export function atomicCompareAndSwap<T extends i32 | u32>(
  _dst: InOut<T, string, string> | Shared<T>,
  _index: readonly i32[],
  _expected: T,
  _value: T,
): T {
  return deviceOnly('atomicCompareAndSwap')
}

// ---- synchronization ---------------------------------------------------------------------------------------------

/** `bar.sync 0`: all threads of the CTA. */
export function barrier(): void {
  deviceOnly('barrier')
}
/** `bar.warp.sync` over the whole warp. */
export function syncWarp(): void {
  deviceOnly('syncWarp')
}
/** `fence.acq_rel.gpu`: what this thread wrote before is visible to other CTAs before what it writes after. */
export function threadFence(): void {
  deviceOnly('threadFence')
}

// ---- warps -------------------------------------------------------------------------------------------------------

/** `shfl.sync.bfly`: the value of lane `laneIdx ^ mask`. */
export function shuffleXor<T extends number>(_value: T, _mask: number): T {
  return deviceOnly('shuffleXor')
}
/** `shfl.sync.down`: the value of lane `laneIdx + delta`, or one's own past the end. */
export function shuffleDown<T extends number>(_value: T, _delta: number): T {
  return deviceOnly('shuffleDown')
}
/** `shfl.sync.up` */
export function shuffleUp<T extends number>(_value: T, _delta: number): T {
  return deviceOnly('shuffleUp')
}
/** `shfl.sync.idx`: the value of lane `lane`. */
export function shuffle<T extends number>(_value: T, _lane: i32): T {
  return deviceOnly('shuffle')
}
/** `vote.sync.all` */
export function voteAll(_p: boolean): boolean {
  return deviceOnly('voteAll')
}
/** `vote.sync.any` */
export function voteAny(_p: boolean): boolean {
  return deviceOnly('voteAny')
}
/** `vote.sync.ballot` */
export function ballot(_p: boolean): u32 {
  return deviceOnly('ballot')
}
/** `redux.sync.add`: the sum over the warp, exact. */
export function reduxAdd<T extends i32 | u32>(_value: T): T {
  return deviceOnly('reduxAdd')
}
/** `redux.sync.max` over the warp. */
export function reduxMax<T extends i32 | u32>(_value: T): T {
  return deviceOnly('reduxMax')
}
/** `redux.sync.min` over the warp. */
export function reduxMin<T extends i32 | u32>(_value: T): T {
  return deviceOnly('reduxMin')
}

// ---- tensor cores ------------------------------------------------------------------------------------------------

/** What `mma` needs to know of an atom; `dsl/atoms` has them. */
export interface MmaAtom {
  readonly name: string
  readonly m: number
  readonly n: number
  readonly k: number
}
/** `mma.sync.aligned`: acc += A·B on fragments; `acc` is an array of registers, updated in place. */
export function mma(_atom: MmaAtom, _acc: (f32 | i32)[], _a: readonly u32[], _b: readonly u32[]): void {
  deviceOnly('mma')
}

// ---- arithmetic --------------------------------------------------------------------------------------------------

/** Converts to the element type that a static string spells. */
export function to(_dtype: DType, _value: number): number {
  return deviceOnly('to')
}
/** Integer division towards zero: `div.s32`, `div.u32`; by a static power of two of a non-negative range, a shift. */
export function idiv<T extends i32 | u32>(_a: T, _b: T): T {
  return deviceOnly('idiv')
}
/** `fma.rn`: a·b + c with one rounding. */
export function fma<T extends number>(_a: T, _b: T, _c: T): T {
  return deviceOnly('fma')
}
/** `rsqrt.approx.f32` */
export function rsqrt(_x: f32): f32 {
  return deviceOnly('rsqrt')
}
/** `rcp.approx.f32` */
export function rcp(_x: f32): f32 {
  return deviceOnly('rcp')
}
/** `sqrt.rn.f32` */
export function sqrt(_x: f32): f32 {
  return deviceOnly('sqrt')
}
/** `ex2.approx.f32` */
export function exp2(_x: f32): f32 {
  return deviceOnly('exp2')
}
/** `ex2.approx.ftz.f32`: one instruction, with 0 for results below 2^-126. */
export function exp2Flushing(_x: f32): f32 {
  return deviceOnly('exp2Flushing')
}
/** `lg2.approx.f32` */
export function log2(_x: f32): f32 {
  return deviceOnly('log2')
}
/** `sin.approx.f32`: precise near zero only. */
export function sin(_x: f32): f32 {
  return deviceOnly('sin')
}
/** `cos.approx.f32`: precise near zero only. */
export function cos(_x: f32): f32 {
  return deviceOnly('cos')
}
/** `tanh.approx.f32` */
export function tanh(_x: f32): f32 {
  return deviceOnly('tanh')
}
/** `cvt.rni.f32.f32`: to the nearest even integer, as a float. */
export function round(_x: f32): f32 {
  return deviceOnly('round')
}
/** `cvt.rmi.f32.f32` */
export function floor(_x: f32): f32 {
  return deviceOnly('floor')
}
/** `cvt.rpi.f32.f32` */
export function ceil(_x: f32): f32 {
  return deviceOnly('ceil')
}
/** Two floats as 8-bit ones, `low` in byte 0 and `high` in byte 1, rounded to nearest; those too large saturate. */
export function packFp8(_type: 'e4m3' | 'e5m2', _low: f32, _high: f32): u32 {
  return deviceOnly('packFp8')
}
/** The 8-bit floats in bytes 0 and 1 of a word, exactly: byte 0 is the lower half. */
export function unpackFp8(_type: 'e4m3' | 'e5m2', _word: u32): f16x2 {
  return deviceOnly('unpackFp8')
}
/** The high 32 bits of the product: `mul.hi`. */
export function mulHi<T extends i32 | u32>(_a: T, _b: T): T {
  return deviceOnly('mulHi')
}
/** `dp4a`: c plus the dot product of four bytes each; `aType` and `bType` say how the bytes are signed. */
export function dp4a(_a: u32, _b: u32, _c: i32, _aType: 'i8' | 'u8', _bType: 'i8' | 'u8'): i32 {
  return deviceOnly('dp4a')
}
/** `prmt.b32`: four bytes chosen from the eight of (a, b) by the nibbles of `selector`. */
export function permuteBytes(_a: u32, _b: u32, _selector: u32): u32 {
  return deviceOnly('permuteBytes')
}
/** `lop3.b32` with the truth table `table` over a = 0xF0, b = 0xCC, c = 0xAA. */
export function lop3(_a: u32, _b: u32, _c: u32, _table: number): u32 {
  return deviceOnly('lop3')
}
/** `shf.l.wrap.b32`: the high word of (high:low) shifted left by `count` mod 32. */
export function funnelShiftLeft(_low: u32, _high: u32, _count: u32): u32 {
  return deviceOnly('funnelShiftLeft')
}
/** `shf.r.wrap.b32`: the low word of (high:low) shifted right by `count` mod 32. */
export function funnelShiftRight(_low: u32, _high: u32, _count: u32): u32 {
  return deviceOnly('funnelShiftRight')
}
/** `popc.b32` */
export function popCount(_x: u32): i32 {
  return deviceOnly('popCount')
}
/** `clz.b32` */
export function leadingZeros(_x: u32): i32 {
  return deviceOnly('leadingZeros')
}
/** Two 16-bit floats in one register, lower half first. */
export function pack2(_low: f16, _high: f16): f16x2
export function pack2(_low: bf16, _high: bf16): bf16x2
export function pack2(_low: number, _high: number): number {
  return deviceOnly('pack2')
}
/** The two halves of a packed pair, lower first. */
export function unpack2(_pair: f16x2): [f16, f16]
export function unpack2(_pair: bf16x2): [bf16, bf16]
export function unpack2(_pair: number): [number, number] {
  return deviceOnly('unpack2')
}
/** Two `f32` rounded to nearest even into one register: `cvt.rn.f16x2.f32`. */
export function packF16(_low: f32, _high: f32): f16x2 {
  return deviceOnly('packF16')
}
/** Two `f32` rounded to nearest even into one register: `cvt.rn.bf16x2.f32`. */
export function packBf16(_low: f32, _high: f32): bf16x2 {
  return deviceOnly('packBf16')
}
