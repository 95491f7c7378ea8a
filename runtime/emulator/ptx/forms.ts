/**
 * The instructions that the emulator accepts, written like the syntax lines of the PTX manual (PTX ISA 9.0, chapter
 * 9.7). Anything else is an error that names the line.
 *
 * A modifier is `.slot(alternatives)`; `.ftz` alone stands for `.ftz(ftz)`, and `?` makes one optional. Operands whose
 * names begin with `d` or `q` are results, `d&` is read as well, `[a]` is an address, `[a{}]` one with coordinates in a
 * tensor, `d|q` a result with an optional predicate beside it, and `c?` may be left out.
 */
const table = `
abs      .type(s16 s32 s64 f64 bf16 bf16x2)                                     d, a
abs      .ftz? .type(f32 f16 f16x2)                                             d, a
activemask .type(b32)                                                           d
add      .type(u16 s16 u32 s32 u64 s64 u16x2 s16x2)                             d, a, b
add      .sat .type(s32)                                                        d, a, b
add      .rnd(rn)? .ftz? .sat? .type(f32)                                        d, a, b
add      .rnd(rn)? .ftz? .type(f16 f16x2)                                        d, a, b
add      .rnd(rn)? .type(f64 bf16 bf16x2)                                       d, a, b
and      .type(pred b16 b32 b64)                                                d, a, b
atom     .order(relaxed acquire release acq_rel)? .scope(cta cluster gpu sys)? .space(global shared shared::cta)? .action(add min max and or xor exch) .type(b32 b64 u32 s32 u64 s64 f32)  d, [a], b
atom     .order(relaxed acquire release acq_rel)? .scope(cta cluster gpu sys)? .space(global shared shared::cta)? .action(cas) .type(b32 b64 u32 s32 u64 s64)                          d, [a], b, c
bar      .cta? .arrive                                                          a, b
bar      .cta? .sync                                                            a, b?
bar      .warp .sync                                                            mask
barrier  .cluster .arrive .order(release relaxed)? .aligned?
barrier  .cluster .wait .order(acquire)? .aligned?
barrier  .cta? .arrive .aligned?                                                a, b
barrier  .cta? .sync .aligned?                                                  a, b?
bfe      .type(u32 s32 u64 s64)                                                 d, a, b, c
bfi      .type(b32 b64)                                                         d, a, b, c, e
bra      .uni?                                                                  label
brev     .type(b32 b64)                                                         d, a
clz      .type(b32 b64)                                                         d, a
copysign .type(f32)                                                             d, a, b
cos      .approx .ftz? .type(f32)                                               d, a
cp       .async .cache(ca cg) .space(shared shared::cta) .global .hint(L2::cache_hint)? .prefetch(L2::64B L2::128B L2::256B)?  [a], [b], size, source?, policy?
cp       .async .commit_group
cp       .async .wait_group                                                     n
cp       .async .wait_all
cp       .async .bulk .dst(shared::cluster shared::cta) .global .completion(mbarrier::complete_tx::bytes) .hint(L2::cache_hint)?  [a], [b], size, [barrier], policy?
cp       .async .bulk .dst(shared::cluster) .global .completion(mbarrier::complete_tx::bytes) .multicast(multicast::cluster) .hint(L2::cache_hint)?  [a], [b], size, [barrier], ctas, policy?
cp       .async .bulk .global .source(shared::cta) .completion(bulk_group) .hint(L2::cache_hint)?  [a], [b], size, policy?
cp       .async .bulk .tensor .dim(1d 2d 3d) .dst(shared::cluster shared::cta) .global .tile? .completion(mbarrier::complete_tx::bytes) .hint(L2::cache_hint)?  [a], [b{}], [barrier], policy?
cp       .async .bulk .tensor .dim(1d 2d 3d) .dst(shared::cluster) .global .tile? .completion(mbarrier::complete_tx::bytes) .multicast(multicast::cluster) .hint(L2::cache_hint)?  [a], [b{}], [barrier], ctas, policy?
cp       .async .bulk .tensor .dim(1d 2d 3d) .global .source(shared::cta) .tile? .completion(bulk_group) .hint(L2::cache_hint)?  [a{}], [b], policy?
cp       .async .bulk .prefetch .L2 .global .hint(L2::cache_hint)?              [a], size, policy?
cp       .async .bulk .commit_group
cp       .async .bulk .wait_group .read?                                        n
cp       .reduce .async .bulk .global .source(shared::cta) .completion(bulk_group) .hint(L2::cache_hint)? .action(add) .type(s32 u32 f32)  [a], [b], size, policy?
createpolicy .fractional .primary(L2::evict_first L2::evict_last L2::evict_normal L2::evict_unchanged) .type(b64)  d, a?
cvt      .rnd(rn rni rzi rmi rpi)? .ftz? .sat? .to(u8 s8 u16 s16 u32 s32 u64 s64 f16 bf16 f32 f64) .from(u8 s8 u16 s16 u32 s32 u64 s64 f16 bf16 f32 f64)  d, a
cvt      .rnd(rn) .relu? .to(f16x2 bf16x2) .from(f32)                        d, a, b
cvt      .rnd(rn) .satfinite .to(e4m3x2 e5m2x2) .from(f32)               d, a, b
cvt      .rnd(rn) .to(f16x2) .from(e4m3x2 e5m2x2)                        d, a
cvta     .to? .space(global shared shared::cta param) .type(u64 u32)            d, a
div      .type(u16 s16 u32 s32 u64 s64)                                         d, a, b
div      .rnd(approx full rn) .ftz? .type(f32)                                  d, a, b
div      .rnd(rn) .type(f64)                                                    d, a, b
dp4a     .atype(u32 s32) .btype(u32 s32)                                        d, a, b, c
ex2      .approx .ftz? .type(f32 f16 f16x2)                                     d, a
exit
fence    .order(sc acq_rel)? .scope(cta cluster gpu sys)
fence    .mbarrier_init .order(release) .scope(cluster)
fence    .proxy .async .space(global shared::cta shared::cluster)?
fma      .rnd(rn) .ftz? .sat? .type(f32)                                         d, a, b, c
fma      .rnd(rn) .ftz? .relu? .type(f16 f16x2)                                  d, a, b, c
fma      .rnd(rn) .relu? .type(bf16 bf16x2)                                     d, a, b, c
griddepcontrol .action(launch_dependents wait)
ld       .order(weak volatile relaxed acquire)? .scope(cta cluster gpu sys)? .space(param global shared shared::cta shared::cluster)? .cop(ca cg cs lu cv)? .nc? .l1(L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate)? .hint(L2::cache_hint)? .prefetch(L2::64B L2::128B L2::256B)? .vec(v2 v4)? .type(b8 u8 s8 b16 u16 s16 b32 u32 s32 b64 u64 s64 f32 f64)  d, [a], policy?
ldmatrix .sync .aligned .shape(m8n8) .num(x1 x2 x4) .trans? .space(shared shared::cta)? .type(b16)  d, [a]
lg2      .approx .ftz? .type(f32)                                               d, a
lop3     .type(b32)                                                             d, a, b, c, lut
mad      .half(lo hi wide) .type(u16 s16 u32 s32 u64 s64)                       d, a, b, c
mapa     .space(shared::cluster) .type(u32)                                      d, a, b
max      .type(u16 s16 u32 s32 u64 s64 u16x2 s16x2)                         d, a, b
max      .ftz? .nan(NaN)? .type(f32 f16 f16x2)                                  d, a, b
max      .nan(NaN)? .type(bf16 bf16x2)                                          d, a, b
mbarrier .init .space(shared shared::cta)? .type(b64)                            [a], b
mbarrier .arrive .expect_tx? .order(release)? .scope(cta cluster)? .space(shared shared::cta shared::cluster)? .type(b64)  token, [a], b?
mbarrier .try_wait .parity .order(acquire)? .scope(cta cluster)? .space(shared shared::cta)? .type(b64)  d, [a], b, hint?
membar   .level(cta gl sys)
min      .type(u16 s16 u32 s32 u64 s64 u16x2 s16x2)                         d, a, b
min      .ftz? .nan(NaN)? .type(f32 f16 f16x2)                                  d, a, b
min      .nan(NaN)? .type(bf16 bf16x2)                                          d, a, b
mma      .sync .aligned .shape(m16n8k16 m16n8k32) .row .col .satfinite? .dtype(s32) .atype(u8 s8) .btype(u8 s8) .ctype(s32)  d, a, b, c
mma      .sync .aligned .shape(m16n8k8 m16n8k16) .row .col .dtype(f32) .atype(f16 bf16) .btype(f16 bf16) .ctype(f32)          d, a, b, c
mov      .type(pred b16 u16 s16 b32 u32 s32 b64 u64 s64 f32 f64)                d, a
mul      .half(lo hi wide) .type(u16 s16 u32 s32 u64 s64)                       d, a, b
mul      .rnd(rn)? .ftz? .sat? .type(f32)                                        d, a, b
mul      .rnd(rn)? .ftz? .type(f16 f16x2)                                        d, a, b
mul      .rnd(rn)? .type(f64 bf16 bf16x2)                                       d, a, b
nanosleep .type(u32)                                                            a
neg      .type(s16 s32 s64 f64 bf16 bf16x2)                                     d, a
neg      .ftz? .type(f32 f16 f16x2)                                             d, a
not      .type(pred b16 b32 b64)                                                d, a
or       .type(pred b16 b32 b64)                                                d, a, b
popc     .type(b32 b64)                                                         d, a
prefetch .space(global)? .level(L1 L2)                                          [a]
prefetch .space(param)? .tensormap                                              [a]
prmt     .type(b32)                                                             d, a, b, c
rcp      .rnd(approx rn) .ftz? .type(f32)                                       d, a
red      .order(relaxed release)? .scope(cta cluster gpu sys)? .space(global shared shared::cta)? .action(add min max and or xor) .type(b32 b64 u32 s32 u64 s64 f32)  [a], b
red      .order(relaxed release)? .scope(cta cluster gpu sys)? .space(global) .action(add) .vec(v2 v4) .type(f32)  [a], b
redux    .sync .action(add min max and or xor) .type(u32 s32 b32)               d, a, mask
rem      .type(u16 s16 u32 s32 u64 s64)                                         d, a, b
ret      .uni?
rsqrt    .approx .ftz? .type(f32)                                               d, a
setmaxnreg .action(inc dec) .sync .aligned .type(u32)                           a
selp     .type(b16 u16 s16 b32 u32 s32 b64 u64 s64 f32 f64)                     d, a, b, c
setp     .cmp(eq ne lt le gt ge lo ls hi hs) .bool(and or xor)? .type(b16 u16 s16 b32 u32 s32 b64 u64 s64)                        d|q, a, b, c?
setp     .cmp(eq ne lt le gt ge equ neu ltu leu gtu geu num nan) .bool(and or xor)? .ftz? .type(f32 f64 f16 f16x2 bf16 bf16x2)  d|q, a, b, c?
shf      .direction(l r) .mode(clamp wrap) .type(b32)                           d, a, b, c
shfl     .sync .mode(up down bfly idx) .type(b32)                               d|q, a, b, c, mask
shl      .type(b16 b32 b64)                                                     d, a, b
shr      .type(b16 b32 b64 u16 u32 u64 s16 s32 s64)                             d, a, b
sin      .approx .ftz? .type(f32)                                               d, a
sqrt     .rnd(approx rn) .ftz? .type(f32)                                       d, a
st       .order(weak volatile relaxed release)? .scope(cta cluster gpu sys)? .space(global shared shared::cta shared::cluster)? .cop(wb cg cs wt)? .l1(L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate)? .hint(L2::cache_hint)? .vec(v2 v4)? .type(b8 u8 s8 b16 u16 s16 b32 u32 s32 b64 u64 s64 f32 f64)  [a], b, policy?
stmatrix .sync .aligned .shape(m8n8) .num(x1 x2 x4) .trans? .space(shared shared::cta)? .type(b16)  [a], b
sub      .type(u16 s16 u32 s32 u64 s64)                                         d, a, b
sub      .sat .type(s32)                                                        d, a, b
sub      .rnd(rn)? .ftz? .sat? .type(f32)                                        d, a, b
sub      .rnd(rn)? .ftz? .type(f16 f16x2)                                        d, a, b
sub      .rnd(rn)? .type(f64 bf16 bf16x2)                                       d, a, b
tanh     .approx .type(f32 f16 f16x2 bf16 bf16x2)                               d, a
trap
vote     .sync .mode(all any uni) .type(pred)                                   d, a, mask
vote     .sync .mode(ballot) .type(b32)                                         d, a, mask
wgmma    .fence .sync .aligned
wgmma    .commit_group .sync .aligned
wgmma    .wait_group .sync .aligned                                             n
wgmma    .mma_async .sync .aligned .shape(${wgmmaShapes(32)}) .dtype(s32) .atype(s8 u8) .btype(s8 u8)               d&, a, b, p
wgmma    .mma_async .sync .aligned .shape(${wgmmaShapes(16)}) .dtype(f32) .atype(f16 bf16) .btype(f16 bf16)         d&, a, b, p, scaleA, scaleB, transA, transB?
wgmma    .mma_async .sync .aligned .shape(${wgmmaShapes(32)}) .dtype(f32) .atype(e4m3 e5m2) .btype(e4m3 e5m2)       d&, a, b, p, scaleA, scaleB
xor      .type(pred b16 b32 b64)                                                d, a, b
`

/** Every number of columns; integers have fewer. */
function wgmmaShapes(k: number): string {
  return Array.from({ length: 32 }, (_, i) => `m64n${8 * (i + 1)}k${k}`).join(' ')
}

export interface Slot {
  readonly name: string
  readonly alternatives: readonly string[]
  readonly optional: boolean
}

export interface OperandSpec {
  readonly name: string
  readonly isResult: boolean
  /** Only results need asking. */
  readonly isRead: boolean
  readonly isAddress: boolean
  /** An address with coordinates in a tensor. */
  readonly hasCoordinates: boolean
  readonly optional: boolean
  /** Written after `|` behind the operand before it. */
  readonly afterPipe: boolean
}

/** One line of the table. */
export interface Form {
  readonly op: string
  readonly slots: readonly Slot[]
  readonly operands: readonly OperandSpec[]
}

function parseForm(line: string): Form {
  const op = /^\w+/.exec(line)![0]
  let rest = line.slice(op.length)
  const slots: Slot[] = []
  for (;;) {
    const match = /^\s*\.([\w]+)(?:\(([^)]*)\))?(\?)?/.exec(rest)
    if (!match) break
    const [whole, name, alternatives, optional] = match
    slots.push({
      name: name!,
      alternatives: alternatives === undefined ? [name!] : alternatives.split(' '),
      optional: optional !== undefined,
    })
    rest = rest.slice(whole.length)
  }
  const operands = rest
    .trim()
    .split(/\s*,\s*/)
    .filter((text) => text !== '')
    .flatMap((text) =>
      text.split('|').map((part, index): OperandSpec => {
        const name = part.replace(/[[\]{}?&]/g, '')
        const isAddress = part.startsWith('[')
        return {
          name,
          isAddress,
          hasCoordinates: isAddress && part.includes('{'),
          isResult: !isAddress && /^[dq]$/.test(name),
          isRead: part.includes('&') || !/^[dq]$/.test(name),
          optional: part.endsWith('?') || index > 0,
          afterPipe: index > 0,
        }
      }),
    )
  return { op, slots, operands }
}

const forms = new Map<string, Form[]>()
for (const line of table.trim().split('\n')) {
  const form = parseForm(line)
  forms.set(form.op, [...(forms.get(form.op) ?? []), form])
}

/** The forms of an operation in the table's order; none when it is unknown. */
export function formsOf(op: string): readonly Form[] {
  return forms.get(op) ?? []
}

/** Every operation in the table. */
export function knownOperations(): readonly string[] {
  return [...forms.keys()]
}

/** Matches modifiers in order; `undefined` when the form does not have them. */
export function matchModifiers(form: Form, modifiers: readonly string[]): Record<string, string> | undefined {
  const found: Record<string, string> = {}
  let next = 0
  for (const slot of form.slots) {
    const modifier = modifiers[next]
    if (modifier !== undefined && slot.alternatives.includes(modifier)) {
      found[slot.name] = modifier
      next++
    } else if (!slot.optional) return undefined
  }
  return next === modifiers.length ? found : undefined
}
