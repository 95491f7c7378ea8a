import * as assert from 'uvu/assert'
import type { KernelIr } from '../../codegen/ir/op.ts'
import { printIr } from '../../codegen/ir/print.ts'
import { verify } from '../../codegen/ir/verify.ts'
import { kernelOf, parseIr } from './parse-ir.ts'

/** Asserts what a pass makes of a kernel's body, both as `printIr` writes them; both must verify. */
export function checkPass(
  pass: (ir: KernelIr) => KernelIr,
  before: string,
  after: string,
  block = '128x1x1',
): void {
  const input = parseIr(kernelOf(before, block))
  verify(input)
  const output = pass(input)
  verify(output, pass.name)
  const wanted = parseIr(kernelOf(after, block))
  verify(wanted, 'the expectation')
  assert.fixture(printIr(output), printIr(wanted))
}

/** Asserts that a pass leaves a kernel's body alone. */
export const checkUnchanged = (pass: (ir: KernelIr) => KernelIr, body: string, block = '128x1x1'): void =>
  checkPass(pass, body, body, block)
