import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceError } from '../../../runtime/device.ts'
import { knownOperations } from '../../../runtime/emulator/ptx/forms.ts'
import type { Kernel } from '../../../runtime/emulator/ptx/module.ts'
import { parsePtx } from '../../../runtime/emulator/ptx/parser.ts'
import { writtenOperations } from '../../../runtime/emulator/translate/emit/instruction.ts'
import { isCollectiveOperation } from '../../../runtime/emulator/translate/graph.ts'
import { assemble } from '../../support/ptxas.ts'

const head = '.version 8.0\n.target sm_90a\n.address_size 64\n'

/** Parses what ptxas accepts. */
function parse(text: string): Kernel {
  assemble(head + text, 'sm_90a')
  return parsePtx(head + text).kernels[0]!
}

function failure(text: string): DeviceError {
  try {
    parsePtx(head + text)
  } catch (error) {
    assert.instance(error, DeviceError)
    return error as DeviceError
  }
  return assert.unreachable('the text is refused') as never
}

const body = (statements: string): string => `.visible .entry k(.param .u64 p)\n{\n${statements}\nret;\n}\n`

test('every instruction of the table is executed somewhere', () => {
  const control = ['bra', 'ret', 'exit']
  const known = knownOperations().filter(
    (op) => !writtenOperations.includes(op) && !control.includes(op) && !isCollectiveOperation(op),
  )
  assert.equal(known, [])
})

test('parameters lie at their natural alignment, arrays at their own', () => {
  const kernel = parse(`.visible .entry k(
    .param .u32 a, .param .u64 .ptr .global .align 16 b, .param .f32 c, .param .align 64 .b8 map[128], .param .u16 d)
    .maxntid 128 .minnctapersm 2 { ret; }`)
  assert.equal(
    kernel.params.map(({ name, offset, bytes }) => [name, offset, bytes]),
    [
      ['a', 0, 4],
      ['b', 8, 8],
      ['c', 16, 4],
      ['map', 64, 128],
      ['d', 192, 2],
    ],
  )
  assert.is(kernel.paramBytes, 194)
  assert.equal(kernel.requiredThreads, [128, 1, 1])
  assert.not.ok(kernel.exactThreads)
})

test('shared variables follow each other; the dynamic window comes last, aligned', () => {
  const kernel = parse(`.extern .shared .align 1024 .b8 tail[];
    .shared .align 8 .b8 module_wide[12];
    ${body(`.shared .b16 halves[5]; .shared .align 128 .b8 tile[256];
    .reg .b32 %r<4>; mov.u32 %r1, tail; mov.u32 %r2, tile; mov.u32 %r3, halves;`)}`)
  assert.equal(
    kernel.sharedVariables.map(({ name, offset }) => [name, offset]),
    [
      ['tail', 1024],
      ['module_wide', 0],
      ['halves', 12],
      ['tile', 128],
    ],
  )
  assert.is(kernel.staticSharedBytes, 384)
})

test('an inner scope hides registers of the outer one', () => {
  const kernel = parse(
    body(`.reg .b32 %a, %b; mov.u32 %a, 1; mov.u32 %b, %a;
    { .reg .b32 %a; mov.u32 %a, 2; add.u32 %b, %b, %a; }
    add.u32 %b, %b, %a;`),
  )
  const names = kernel.registers.map(({ name, id }) => `${name}:${id}`)
  assert.equal(names, ['%a:0', '%b:1', '%a:2'])
  const last = kernel.instructions[4]!.operands[2]!
  assert.is(last.kind === 'register' && last.register.id, 0)
})

test('literals of every spelling', () => {
  const kernel = parse(
    body(`.reg .b32 %r<9>; .reg .f32 %f<3>; .reg .f64 %d; .reg .b64 %rd;
    mov.u32 %r1, 0xFFFFFFFF; mov.u32 %r2, -5; mov.u32 %r3, 17U; mov.f32 %f1, 0f3FC00000;
    mov.f64 %d, 0dC000000000000000; mov.f32 %f2, 2.5; mov.u64 %rd, 0x123456789abcdef0;`),
  )
  const values = kernel.instructions.slice(0, 7).map(({ operands: [, source] }) => {
    if (source?.kind === 'integer' || source?.kind === 'float') return source.value
    return undefined
  })
  assert.equal(values, [0xffffffffn, -5n, 17n, 1.5, -2, 2.5, 0x123456789abcdef0n])
})

test('modifiers land in their slots', () => {
  const kernel = parse(
    body(`.reg .b32 %r<9>; .reg .b64 %rd; .reg .pred %p<3>; ld.param.u64 %rd, [p];
    ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%r1, %r2, %r3, %r4}, [%rd+16];
    @!%p1 setp.lt.and.s32 %p1|%p2, %r1, %r2, !%p2;`),
  )
  const [, load, compare] = kernel.instructions
  assert.equal(
    { ...load!.modifiers },
    { space: 'global', nc: 'nc', l1: 'L1::no_allocate', prefetch: 'L2::128B', vec: 'v4', type: 'b32' },
  )
  assert.equal({ ...compare!.modifiers }, { cmp: 'lt', bool: 'and', type: 's32' })
  assert.ok(compare!.guard?.negated)
  assert.is(compare!.operands.length, 5)
})

test('every instruction knows its lines, inlined calls included', () => {
  const text = `${body(`.reg .b32 %r<9>;
.loc 1 10 5
mov.u32 %r1, 1;
.loc 2 3 7, function_name $L_helper, inlined_at 1 10 5
mov.u32 %r2, 2;`)}
.file 1 "kernels/a.ts"
.file 2 "dsl/std/b.ts", 123, 456
.section .debug_str { $L_helper: .b8 104, 101, 0 }
`
  const [first, second] = parse(text).instructions
  assert.is(first!.line, 8)
  assert.is(first!.location?.file, 'kernels/a.ts')
  assert.is(second!.location?.file, 'dsl/std/b.ts')
  assert.is(second!.location?.line, 3)
  assert.is(second!.location?.inlinedAt?.line, 10)
  assert.is(second!.text, 'mov.u32 %r2, 2')
})

const refusals: [name: string, text: string, message: RegExp, code?: string][] = [
  ['an unknown instruction', body('bogus.u32 %r1, 2;'), /PTX line 6: .*/, undefined],
  [
    'an unknown modifier',
    body('.reg .b32 %r<3>;\nadd.u32.rz %r1, %r2, %r1;'),
    /PTX line 7: the emulator does not know this form of 'add': 'add\.u32\.rz'/,
    'EMULATOR_UNKNOWN_INSTRUCTION',
  ],
  [
    'a missing operand',
    body('.reg .b32 %r<3>;\nadd.u32 %r1, %r2;'),
    /'add\.u32' does not take these 2 operands/,
    'EMULATOR_UNKNOWN_INSTRUCTION',
  ],
  ['an undeclared register', body('.reg .b32 %r<3>;\nmov.u32 %r3, 1;'), /the register %r3 is not declared/],
  ['a register of no type', body('.reg .b7 %r;'), /'\.b7' is not a register type/],
  ['a label twice', body('A:\nA:\n'), /the label A is defined twice/],
  ['a kernel without an end', '.visible .entry k() { ret;', /the kernel does not end/],
  ['a directive of the module', '.const .b8 table[4];', /'\.const' is not supported/],
  ['a guard that is no predicate', body('.reg .b32 %r<3>;\n@%r1 mov.u32 %r2, 1;'), /is not a predicate/],
]

for (const [name, text, message, code] of refusals)
  test(`${name} is refused`, () => {
    const error = failure(text)
    assert.match(error.message, message)
    if (code) assert.is(error.code, code)
  })

test.run()
