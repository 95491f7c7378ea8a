import type { Instruction, Operand, ValueType } from '../ir/op.ts'
import { immediate, isInteger } from '../ir/value.ts'
import { untyped } from './registers.ts'
import type { Writer } from './writer.ts'

/** Types as `cvt` names them. */
const names = {
  i8: 's8',
  u8: 'u8',
  i32: 's32',
  u32: 'u32',
  f16: 'f16',
  bf16: 'bf16',
  f32: 'f32',
} as const
type Number = keyof typeof names

const isByte = (type: ValueType): boolean => type === 'i8' || type === 'u8'

/**
 * `convert` by what it goes from and to. Three have no instruction of their own:
 *
 * - from and to `bool`: a selection of 1 or 0, a comparison with 0;
 * - from `bf16`: its bits are the upper half of the `f32` of the same value, and go on from there;
 * - to `bf16` from anything but `f32`: by way of `f32`.
 *
 * Floats become integers towards zero unless `rounding` says otherwise, and always saturate; that is PTX's own rule.
 */
export function writeConvert(w: Writer, { results, args, attributes }: Instruction): void {
  const result = results[0]!
  const rounding = (attributes.rounding || 'rzi') as string
  step(w, w.name(result), result.type, args[0]!, rounding, attributes.saturate === true)
}

function step(
  w: Writer,
  dst: string,
  to: ValueType,
  source: Operand,
  rounding: string,
  saturate: boolean,
): void {
  const from = source.type
  if (to === 'bool') toBool(w, dst, source)
  else if (from === 'bool') fromBool(w, dst, to, source)
  else if (from === to) w.line(`mov.${untyped[to]}`, dst, w.operand(source))
  else if (from === 'bf16') {
    const whole = to === 'f32' ? dst : w.registers.fresh('f32')
    w.line('mov.b32', whole, `{0, ${w.inRegister(source)}}`)
    if (to !== 'f32') convert(w, dst, to as Number, whole, 'f32', rounding, saturate)
  } else convert(w, dst, to as Number, w.inRegister(source), from as Number, rounding, saturate)
}

function convert(
  w: Writer,
  dst: string,
  to: Number,
  src: string,
  from: Number,
  rounding: string,
  saturate: boolean,
): void {
  if (to === 'bf16' && from !== 'f32') {
    const whole = w.registers.fresh('f32')
    convert(w, whole, 'f32', src, from, rounding, saturate)
    convert(w, dst, to, whole, 'f32', rounding, saturate)
    return
  }
  if (isInteger(from) && isInteger(to) && !saturate) {
    w.line('mov.b32', dst, src)
    return
  }
  w.line(`cvt${modifiers(from, to, rounding, saturate)}.${names[to]}.${names[from]}`, dst, src)
}

/** Whether every value of one integer type is one of another; `.sat` is refused there. */
const contains = (outer: Number, inner: Number): boolean =>
  outer === inner || (isByte(inner) && (outer === 'i32' || (outer === 'u32' && inner === 'u8')))

function modifiers(from: Number, to: Number, rounding: string, saturate: boolean): string {
  const toFloat = !isInteger(to) && !isByte(to)
  const fromFloat = !isInteger(from) && !isByte(from)
  if (toFloat) return from === 'f16' ? '' : '.rn'
  if (fromFloat) return `.${rounding}${isByte(to) ? '.sat' : ''}`
  return saturate && !contains(to, from) ? '.sat' : ''
}

function toBool(w: Writer, dst: string, source: Operand): void {
  const { type } = source
  if (isInteger(type)) w.line(`setp.ne.${names[type as Number]}`, dst, w.operand(source), '0')
  else if (type === 'f32') w.line('setp.neu.f32', dst, w.operand(source), '0f00000000')
  else {
    const via = isByte(type) ? 'i32' : 'f32'
    const whole = w.registers.fresh(via)
    step(w, whole, via, source, 'rzi', false)
    if (via === 'i32') w.line('setp.ne.s32', dst, whole, '0')
    else w.line('setp.neu.f32', dst, whole, '0f00000000')
  }
}

function fromBool(w: Writer, dst: string, to: ValueType, source: Operand): void {
  const [one, zero] = [immediate(to, 1), immediate(to, 0)].map((value) => w.operand(value)) as [
    string,
    string,
  ]
  w.line(`selp.${untyped[to]}`, dst, one, zero, w.inRegister(source))
}
