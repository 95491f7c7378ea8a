import { type WgmmaTypes, wgmmaHas } from '../../dsl/atoms/wgmma.ts'

/** Columns of `wgmma` as a choice of mnemonics. */
const columns = (types: WgmmaTypes): string =>
  `{${Array.from({ length: 32 }, (_, i) => 8 * (i + 1)).filter((n) => wgmmaHas(n, types))}}`
const integerColumns = columns('s8s8')
const floatColumns = columns('f16')

/**
 * The PTX instructions and special registers that the compiler emits: one table, to be read beside the PTX manual.
 *
 * `{a,b}` chooses one, and an empty choice leaves a modifier out. A row's figures are the lowest `.version`, the lowest
 * and the last target that have the instruction; most were there before PTX 7.0 and sm_80, where we begin, and have none.
 * The operands are spelled as in the manual; a module uses the lowest `.version` that its instructions and its target
 * allow.
 */
const table: readonly (readonly [
  mnemonics: string,
  operands: string,
  version?: number,
  capability?: number,
  last?: number,
])[] = [
  // 9.7.1 Integer arithmetic
  ['add.{s32,u32,s64,u64}', 'd, a, b'],
  ['sub.{s32,u32}', 'd, a, b'],
  ['mul.{lo,hi}.{s32,u32}', 'd, a, b'],
  ['mul.wide.{s32,u32}', 'd, a, b'],
  ['mad.lo.{s32,u32}', 'd, a, b, c'],
  ['mad.wide.{s32,u32}', 'd, a, b, c'],
  ['div.{s32,u32}', 'd, a, b'],
  ['rem.{s32,u32}', 'd, a, b'],
  ['abs.s32', 'd, a'],
  ['neg.s32', 'd, a'],
  ['{min,max}.{s32,u32}', 'd, a, b'],
  ['popc.b32', 'd, a'],
  ['clz.b32', 'd, a'],
  ['dp4a.{s32,u32}.{s32,u32}', 'd, a, b, c'],

  // 9.7.3 Floating point: `.rn` is spelled out, because without it ptxas may fuse a product and a sum
  ['{add,sub,mul}.rn.f32', 'd, a, b'],
  ['fma.rn.f32', 'd, a, b, c'],
  ['div.rn.f32', 'd, a, b'],
  ['{abs,neg}.f32', 'd, a'],
  ['{min,max}.f32', 'd, a, b'],
  ['rcp.approx.f32', 'd, a'],
  ['sqrt.rn.f32', 'd, a'],
  ['rsqrt.approx.f32', 'd, a'],
  ['{sin,cos,lg2,ex2}.approx.f32', 'd, a'],
  ['ex2.approx.ftz.f32', 'd, a'],
  ['tanh.approx.f32', 'd, a'],

  // 9.7.4 Half precision
  ['{add,sub,mul}.rn.{f16,f16x2}', 'd, a, b'],
  ['{add,sub,mul}.rn.{bf16,bf16x2}', 'd, a, b', 78, 90],
  ['fma.rn.{f16,f16x2,bf16,bf16x2}', 'd, a, b, c'],
  ['{neg,abs}.{f16,f16x2,bf16,bf16x2}', 'd, a'],
  ['{min,max}.{f16,f16x2,bf16,bf16x2}', 'd, a, b'],

  // 9.7.6 Comparison and selection
  ['setp.{eq,ne,lt,le,gt,ge}.{s32,u32}', 'p, a, b'],
  ['setp.{eq,neu,lt,le,gt,ge}.{f32,f16}', 'p, a, b'],
  ['selp.{b16,b32,b64,f32}', 'd, a, b, c'],

  // 9.7.8 Logic and shift
  ['{and,or,xor}.{pred,b32}', 'd, a, b'],
  ['not.{pred,b32}', 'd, a'],
  ['lop3.b32', 'd, a, b, c, immLut'],
  ['shf.{l,r}.wrap.b32', 'd, a, b, c'],
  ['shl.b32', 'd, a, b'],
  ['shr.{s32,u32}', 'd, a, b'],

  // 9.7.9 Data movement and conversion
  ['mov.{pred,b16,b32,u32,b64,f32}', 'd, a'],
  ['prmt.b32', 'd, a, b, c'],
  ['ld.param.{u64,b32,f32}', 'd, [a]'],
  ['ld.global{,.ca,.cg,.cs,.nc}{,.v2,.v4}.{s8,u8,b16,b32,f32}', 'd, [a]'],
  ['ld.relaxed.gpu.global{,.v2,.v4}.{s8,u8,b16,b32,f32}', 'd, [a]'],
  ['ld.shared{,.v2,.v4}.{s8,u8,b16,b32,f32}', 'd, [a]'],
  ['ld.shared::cluster{,.v2,.v4}.{s8,u8,b16,b32,f32}', 'd, [a]', 78, 90],
  ['st.global{,.cg,.cs}{,.v2,.v4}.{b8,b16,b32,f32}', '[a], b'],
  ['st.relaxed.gpu.global{,.v2,.v4}.{b8,b16,b32,f32}', '[a], b'],
  ['st.shared{,.v2,.v4}.{b8,b16,b32,f32}', '[a], b'],
  ['st.shared::cluster{,.v2,.v4}.{b8,b16,b32,f32}', '[a], b', 78, 90],
  ['cvt.rn.f32.{s8,u8,s32,u32}', 'd, a'],
  ['cvt.rn.f16.{s8,u8,s32,u32,f32}', 'd, a'],
  ['cvt.f32.f16', 'd, a'],
  ['cvt.rn.bf16.f32', 'd, a'],
  ['cvt.rn.satfinite.{e4m3x2,e5m2x2}.f32', 'd, a, b', 81, 89],
  ['cvt.rn.f16x2.{e4m3x2,e5m2x2}', 'd, a', 81, 89],
  ['cvt.rn.{f16x2,bf16x2}.f32', 'd, a, b'],
  ['cvt.{rni,rzi,rmi,rpi}.f32.f32', 'd, a'],
  ['cvt.{rni,rzi,rmi,rpi}.{s32,u32}.{f32,f16}', 'd, a'],
  ['cvt.{rni,rzi,rmi,rpi}.sat.{s8,u8}.{f32,f16}', 'd, a'],
  ['cvt{,.sat}.{s8,u8,s32,u32}.{s8,u8,s32,u32}', 'd, a'],
  ['cp.async.{ca,cg}.shared.global', '[d], [a], size, source?'],
  ['cp.async.commit_group', ''],
  ['cp.async.wait_group', 'n'],
  ['cvt.u16.u32', 'd, a'],
  ['cvta.param.u64', 'd, a', 77],
  ['mapa.shared::cluster.u32', 'd, a, rank', 78, 90],
  ['createpolicy.fractional.L2::{evict_first,evict_last}.b64', 'd, fraction', 74],
  [
    'cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes{,.L2::cache_hint}',
    '[d], [s], size, [barrier], policy?',
    80,
    90,
  ],
  ['cp.async.bulk.prefetch.L2.global', '[s], size', 80, 90],
  ['cp.async.bulk.global.shared::cta.bulk_group', '[d], [s], size', 80, 90],
  ['cp.reduce.async.bulk.global.shared::cta.bulk_group.add.{s32,u32,f32}', '[d], [s], size', 80, 90],
  [
    'cp.async.bulk.tensor.{2d,3d}.shared::cluster.global.mbarrier::complete_tx::bytes{,.multicast::cluster}{,.L2::cache_hint}',
    '[d], [map, coordinates], [barrier], mask?, policy?',
    80,
    90,
  ],
  [
    'cp.async.bulk.tensor.{2d,3d}.global.shared::cta.bulk_group{,.L2::cache_hint}',
    '[map, coordinates], [s], policy?',
    80,
    90,
  ],
  ['cp.async.bulk.commit_group', '', 80, 90],
  ['cp.async.bulk.wait_group{,.read}', 'n', 80, 90],
  ['prefetch.tensormap', '[map]', 80, 90],

  // 9.7.12 Control flow
  ['bra{,.uni}', 'label'],
  ['ret', ''],

  // 9.7.13 Synchronization and communication
  ['bar.sync', 'a, b?'],
  ['bar.arrive', 'a, b'],
  ['bar.warp.sync', 'mask'],
  ['fence.acq_rel.gpu', ''],
  ['fence.proxy.async.shared::cta', '', 80, 90],
  ['fence.mbarrier_init.release.cluster', '', 80, 90],
  ['mbarrier.init.shared::cta.b64', '[a], count', 78, 90],
  ['mbarrier.arrive.shared::cta.b64', '_, [a]', 78, 90],
  ['mbarrier.arrive.shared::cluster.b64', '_, [a]', 80, 90],
  ['mbarrier.arrive.expect_tx.shared::cta.b64', '_, [a], bytes', 80, 90],
  ['mbarrier.try_wait.parity.shared::cta.b64', 'p, [a], parity', 78, 90],
  ['barrier.cluster.arrive.release.aligned', '', 78, 90],
  ['barrier.cluster.arrive.relaxed.aligned', '', 80, 90],
  ['barrier.cluster.wait.acquire.aligned', '', 78, 90],
  ['griddepcontrol.{launch_dependents,wait}', '', 78, 90],
  ['atom.{global,shared}.{add,max,min}.{s32,u32}', 'd, [a], b'],
  ['atom.{global,shared}.add.f32', 'd, [a], b'],
  ['atom.{global,shared}.exch.b32', 'd, [a], b'],
  ['red.relaxed.gpu.global.add.f32', '[a], b'],
  ['red.relaxed.gpu.global.add.{v2,v4}.f32', '[a], b', 81, 90],
  ['atom.{global,shared}.cas.b32', 'd, [a], b, c'],
  ['vote.sync.{all,any}.pred', 'd, a, mask'],
  ['vote.sync.ballot.b32', 'd, a, mask'],
  ['shfl.sync.{up,down,bfly,idx}.b32', 'd, a, b, c, mask'],
  ['redux.sync.{add,min,max}.{s32,u32}', 'd, a, mask'],

  // 9.7.14 Matrices in a warp
  ['ldmatrix.sync.aligned.m8n8.{x1,x2,x4}{,.trans}.shared.b16', 'd, [a]'],
  ['mma.sync.aligned.m16n8k32.row.col.s32.{s8,u8}.{s8,u8}.s32', 'd, a, b, c'],
  ['mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32', 'd, a, b, c'],
  ['mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32', 'd, a, b, c'],
  ['stmatrix.sync.aligned.m8n8.{x1,x2,x4}{,.trans}.shared.b16', '[a], b', 78, 90],

  // 9.7.15 Matrices in a warpgroup
  [`wgmma.mma_async.sync.aligned.m64n${integerColumns}k32.s32.{s8.s8,u8.u8}`, 'd, a, b, p', 80, 90, 90],
  [`wgmma.mma_async.sync.aligned.m64n${integerColumns}k32.s32.{s8.u8,u8.s8}`, 'd, a, b, p', 84, 90, 90],
  [
    `wgmma.mma_async.sync.aligned.m64n${floatColumns}k16.f32.{f16.f16,bf16.bf16}`,
    'd, a, b, p, signA, signB, transA, transB?',
    80,
    90,
    90,
  ],
  [
    `wgmma.mma_async.sync.aligned.m64n${floatColumns}k32.f32.{e4m3.e4m3,e5m2.e5m2}`,
    'd, a, b, p, signA, signB',
    80,
    90,
    90,
  ],
  ['wgmma.{fence,commit_group}.sync.aligned', '', 80, 90, 90],
  ['wgmma.wait_group.sync.aligned', 'n', 80, 90, 90],
  ['setmaxnreg.{inc,dec}.sync.aligned.u32', 'n', 80, 90],

  // 10 Special registers
  ['%{tid,ctaid,nctaid}.{x,y,z}', ''],
  ['%laneid', ''],
  ['%cluster_ctarank', '', 78, 90],
]

export interface IsaEntry {
  /** Fewest and most operands. */
  readonly operands: readonly [number, number]
  /** Lowest `.version`, times ten. */
  readonly version: number
  /** Lowest compute capability, times ten. */
  readonly capability: number
  /** The last compute capability, if later ones lack it. */
  readonly last: number | undefined
}

/** Every mnemonic that a pattern with `{a,b}` stands for. */
function expand(pattern: string): string[] {
  const open = pattern.indexOf('{')
  if (open < 0) return [pattern]
  const close = pattern.indexOf('}', open)
  const rest = expand(pattern.slice(close + 1))
  return pattern
    .slice(open + 1, close)
    .split(',')
    .flatMap((choice) => rest.map((tail) => pattern.slice(0, open) + choice + tail))
}

function countOperands(operands: string): readonly [number, number] {
  const all = operands
    .replace(/\[[^\]]*\]/g, 'a')
    .split(', ')
    .filter(Boolean)
  return [all.filter((name) => !name.endsWith('?')).length, all.length]
}

/** The table by mnemonic. */
export const isa: ReadonlyMap<string, IsaEntry> = new Map(
  table.flatMap(([pattern, operands, version = 70, capability = 80, last]) =>
    expand(pattern).map((mnemonic) => [
      mnemonic,
      { operands: countOperands(operands), version, capability, last },
    ]),
  ),
)

/** The lowest `.version` that knows a target, times ten. PTX manual, release notes. */
export const versionOfTarget = {
  sm_80: 70,
  sm_86: 71,
  sm_89: 78,
  sm_90a: 80,
  sm_100a: 86,
  sm_103a: 88,
  sm_120a: 87,
} as const

/** `.loc` with `function_name` and `inlined_at`. */
export const versionOfInlinedLocations = 72
