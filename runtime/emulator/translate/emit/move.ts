import type { Operand, VectorOperand } from '../../ptx/module.ts'
import type { I32, I64 } from '../../wasm/operations.ts'
import { scalarTypes } from '../types.ts'
import type { Emitter } from './emitter.ts'

/** mov: copies, addresses of shared variables, and the packing and unpacking of vectors. */
export function move(e: Emitter, [d, a]: readonly Operand[]): void {
  if (a!.kind === 'vector') {
    pack(e, d!, a!)
    return
  }
  if (d!.kind === 'vector') {
    unpack(e, d!, a!)
    return
  }
  const type = e.modifier('type')
  const { bits } = scalarTypes[type]!
  if (type === 'f32') e.set(d!, e.f32(a!))
  else if (type === 'f64') e.set(d!, e.f64(a!))
  else if (bits === 64) e.set(d!, e.i64(a!))
  else if (d!.kind === 'register' && d!.register.type === 'f32' && a!.kind !== 'special') e.set(d!, e.f32(a!))
  else if (bits === 16 && a!.kind === 'integer') e.set16(d!, e.i32(a!))
  else e.set(d!, e.i32(a!))
}

/** `mov.b32 d, {a, b}`: the first element goes to the lowest bits. */
function pack(e: Emitter, d: Operand, { elements }: VectorOperand): void {
  const { w } = e
  const bits = scalarTypes[e.modifier('type')]!.bits / elements.length
  if (e.modifier('type') === 'b32' || bits < 16) {
    if (elements.length !== 2) e.fail('a 32-bit register packs two 16-bit ones')
    const low = w.i32.and(e.i32(elements[0]!), w.i32.const(0xffff))
    e.set(d, w.i32.or(low, w.i32.shl(e.i32(elements[1]!), w.i32.const(16))))
    return
  }
  const part = (index: number): I64 => {
    const word = w.i64.extend_i32_u(e.i32(elements[index]!))
    return index === 0 ? word : w.i64.shl(word, w.i64.const(bits * index))
  }
  let value = part(0)
  for (let i = 1; i < elements.length; i++) value = w.i64.or(value, part(i))
  e.set(d, value)
}

function unpack(e: Emitter, { elements }: VectorOperand, a: Operand): void {
  const { w } = e
  const total = scalarTypes[e.modifier('type')]!.bits
  const bits = total / elements.length
  if (total === 32) {
    const source = w.let(e.i32(a))
    elements.forEach((element, index) => {
      if (element.kind === 'sink') return
      const shifted: I32 = index === 0 ? w.get(source) : w.i32.shr_u(w.get(source), w.i32.const(16))
      e.set16(element, shifted)
    })
    w.release(source)
    return
  }
  const source = w.let(e.i64(a))
  elements.forEach((element, index) => {
    if (element.kind === 'sink') return
    const word = w.i32.wrap_i64(
      index === 0 ? w.get(source) : w.i64.shr_u(w.get(source), w.i64.const(bits * index)),
    )
    if (bits === 16) e.set16(element, word)
    else e.set(element, word)
  })
  w.release(source)
}

/** cvta changes nothing: every address is one of linear memory. */
export function convertAddress(e: Emitter, [d, a]: readonly Operand[]): void {
  if (e.modifier('type') === 'u64') e.set(d!, e.i64(a!))
  else e.set(d!, e.i32(a!))
}
