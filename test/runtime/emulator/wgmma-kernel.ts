import type { WgmmaTypes } from '../../../dsl/atoms/wgmma.ts'
import { bf16Value, f16Value } from '../../../dsl/half.ts'
import type { Rng } from '../../support/rng.ts'
import { fp8Value } from './fp8-model.ts'

/** How a tile lies in shared memory: bytes that a row swizzles. */
export type Swizzling = 'none' | 32 | 64 | 128

export const columnsOfTests = [8, 16, 24, 64, 96, 128, 256] as const

type Element = 's8' | 'u8' | 'f16' | 'bf16' | 'e4m3' | 'e5m2'

export function operandTypes(types: WgmmaTypes): readonly [a: Element, b: Element] {
  if (types.length === 4 && /^[su]8[su]8$/.test(types))
    return [types.slice(0, 2) as Element, types.slice(2) as Element]
  return [types as Element, types as Element]
}

/** The number that a code of an element stands for. */
export function elementValue(type: Element, code: number): number {
  switch (type) {
    case 's8':
      return (code << 24) >> 24
    case 'u8':
      return code
    case 'f16':
      return f16Value(code)
    case 'bf16':
      return bf16Value(code)
    default:
      return fp8Value(type, code)
  }
}

/** Codes of finite elements of moderate size, subnormal 8-bit floats among them. */
export function randomCodes(random: Rng, type: Element, count: number): number[] {
  return Array.from({ length: count }, () => {
    if (type === 'f16') return random.integer(0, 1) * 0x8000 + random.integer(0x3000, 0x43ff)
    if (type === 'bf16') return random.integer(0, 1) * 0x8000 + random.integer(0x3e00, 0x40ff)
    if (type === 'e4m3' || type === 'e5m2') return random.integer(0, 1) * 0x80 + random.integer(0, 0x50)
    return random.integer(0, 255)
  })
}

const list = (count: number, of: (i: number) => string, separator = ', '): string =>
  Array.from({ length: count }, (_, i) => of(i)).join(separator)

export interface Product {
  readonly types: WgmmaTypes
  readonly n: number
  readonly a: 'registers' | 'shared'
  readonly swizzling: Swizzling
}

/** `wgmma.mma_async` of the n-th step along K, without its operands. */
function opcodeOf(types: WgmmaTypes, n: number): string {
  const [a, b] = operandTypes(types)
  const k = a === 'f16' || a === 'bf16' ? 16 : 32
  const d = a === 's8' || a === 'u8' ? 's32' : 'f32'
  return `wgmma.mma_async.sync.aligned.m64n${n}k${k}.${d}.${a}.${b}`
}

/** What stands behind the predicate. */
function immediatesOf(types: WgmmaTypes, a: 'registers' | 'shared'): string {
  const [element] = operandTypes(types)
  if (element === 's8' || element === 'u8') return ''
  if (element === 'e4m3' || element === 'e5m2') return ', 1, 1'
  return a === 'shared' ? ', 1, 1, 0, 0' : ', 1, 1, 0'
}

/** The bits of a descriptor above its address. */
export function descriptorBits(swizzling: Swizzling): string {
  const code = swizzling === 'none' ? 0n : { 128: 1n, 64: 2n, 32: 3n }[swizzling]
  const stride = swizzling === 'none' ? 256 : 8 * swizzling
  const leading = swizzling === 'none' ? 128 : 16
  return `0x${((code << 62n) | (BigInt(stride >> 4) << 32n) | (BigInt(leading >> 4) << 16n)).toString(16)}`
}

/**
 * The body of a kernel of one warpgroup: copies the images of A (`p0`) and B (`p1`) to shared memory, adds their product
 * to the accumulators of `p3` ([thread][register]); A in registers comes from `p2` ([step][thread][4 words]).
 */
export function productPtx({ types, n, a, swizzling }: Product): string {
  const rowBytes = swizzling === 'none' ? 32 : swizzling
  const steps = rowBytes / 32
  const aBytes = 64 * rowBytes
  const registers = n / 2
  const kind = /^[su]8$/.test(operandTypes(types)[0]) ? 'b32' : 'f32'
  const d = list(registers, (i) => `%d${i}`)
  // Without a swizzle a step is 32 bytes of K as two blocks of 128 bytes.
  const advance = swizzling === 'none' ? 16 : 2
  return `.reg .b32 %r<20>, %a<${4 * steps}>; .reg .${kind} %d<${registers}>; .reg .b64 %rd<20>; .reg .pred %p<3>;
    mov.u32 %r1, %tid.x; mov.u32 %r2, smem;
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2]; ld.param.u64 %rd4, [p3];
    mul.lo.u32 %r3, %r1, 16;
    mov.u32 %r4, %r3;
    COPY_A: cvt.u64.u32 %rd5, %r4; add.u64 %rd5, %rd5, %rd1; add.u32 %r5, %r2, %r4;
    ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%rd5]; st.shared.v4.b32 [%r5], {%r8, %r9, %r10, %r11};
    add.u32 %r4, %r4, 2048; setp.lt.u32 %p1, %r4, ${aBytes}; @%p1 bra COPY_A;
    mov.u32 %r4, %r3;
    COPY_B: setp.ge.u32 %p1, %r4, ${n * rowBytes}; @%p1 bra COPIED;
    cvt.u64.u32 %rd5, %r4; add.u64 %rd5, %rd5, %rd2; add.u32 %r5, %r2, %r4;
    ld.global.v4.b32 {%r8, %r9, %r10, %r11}, [%rd5]; st.shared.v4.b32 [%r5+${aBytes}], {%r8, %r9, %r10, %r11};
    add.u32 %r4, %r4, 2048; bra COPY_B;
    COPIED: fence.proxy.async.shared::cta; bar.sync 0;
    mul.wide.u32 %rd5, %r1, ${registers * 4}; add.u64 %rd4, %rd4, %rd5;
    ${list(registers, (i) => `ld.global.${kind} %d${i}, [%rd4+${4 * i}];`, ' ')}
    mul.wide.u32 %rd5, %r1, 16; add.u64 %rd3, %rd3, %rd5;
    ${list(steps, (s) => `ld.global.v4.b32 {${list(4, (i) => `%a${4 * s + i}`)}}, [%rd3+${2048 * s}];`, ' ')}
    and.b32 %r6, %r2, 0x3ffff; shr.u32 %r6, %r6, 4; cvt.u64.u32 %rd6, %r6; or.b64 %rd6, %rd6, ${descriptorBits(swizzling)};
    add.u64 %rd7, %rd6, ${aBytes / 16};
    setp.eq.u32 %p2, %r2, %r2;
    wgmma.fence.sync.aligned;
    ${list(
      steps,
      (s) => {
        const left = a === 'shared' ? `%rd8` : `{${list(4, (i) => `%a${4 * s + i}`)}}`
        return `add.u64 %rd8, %rd6, ${advance * s}; add.u64 %rd9, %rd7, ${advance * s};
    ${opcodeOf(types, n)} {${d}}, ${left}, %rd9, %p2${immediatesOf(types, a)};`
      },
      '\n    ',
    )}
    wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;
    ${list(registers, (i) => `st.global.${kind} [%rd4+${4 * i}], %d${i};`, ' ')}`
}
