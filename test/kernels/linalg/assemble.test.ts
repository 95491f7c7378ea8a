import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileKernel } from '../../../codegen/compile.ts'
import { targets } from '../../../codegen/target.ts'
import type { Kernel } from '../../../dsl/kernel.ts'
import { causalAttention } from '../../../kernels/linalg/causal-attention.ts'
import { choleskyPanel } from '../../../kernels/linalg/cholesky-panel.ts'
import { keepLess, searchGroupClip } from '../../../kernels/linalg/clip-search.ts'
import { columnParts, joinParts } from '../../../kernels/linalg/column-stats.ts'
import * as elements from '../../../kernels/linalg/elements.ts'
import { gptqBlock } from '../../../kernels/linalg/gptq-block.ts'
import {
  encodeWeights,
  fitUnits,
  type GridKind,
  snapWeights,
  unitRanges,
} from '../../../kernels/linalg/grid.ts'
import { hadamardRows } from '../../../kernels/linalg/hadamard.ts'
import { addPart, splitColumns, splitRows } from '../../../kernels/linalg/half-operands.ts'
import { fakeQuantizeHeads, rotateHeads } from '../../../kernels/linalg/heads.ts'
import { product } from '../../../kernels/linalg/product.ts'
import * as rows from '../../../kernels/linalg/rows.ts'
import { splitProduct } from '../../../kernels/linalg/split-product.ts'
import * as transposes from '../../../kernels/linalg/transpose.ts'
import { assemble, hasPtxas } from '../../support/ptxas.ts'

const isKernel = (value: unknown): value is Kernel =>
  typeof value === 'object' && value !== null && 'url' in value

/** Bytes that may be spilled: products trade a few for a second CTA on a multiprocessor. */
const mostSpilled = 160

const cases: [Kernel<never, never>, object][] = []
const add = (kernel: unknown, ...configs: object[]) => {
  for (const config of configs.length > 0 ? configs : [{}])
    cases.push([kernel as Kernel<never, never>, config])
}

const constants: Record<string, object[]> = {
  widenHalfs: [{ dtype: 'f16' }, { dtype: 'bf16' }],
  roundFloats: [{ type: 'f16' }, { type: 'bf16' }],
  normalizeRows: [{ gain: true }, { gain: false }],
}
for (const module of [elements, rows, transposes])
  for (const value of Object.values(module)) if (isKernel(value)) add(value, ...(constants[value.name] ?? []))
for (const kernel of [choleskyPanel, keepLess, columnParts, joinParts, unitRanges]) add(kernel)
for (const transposeA of [true, false])
  for (const transposeB of [true, false])
    add(
      product,
      { transposeA, transposeB, vec: 4, add: true, part: 'all', triangular: false },
      { transposeA, transposeB, vec: 1, add: false, part: 'upper', triangular: true },
    )
for (const transposeA of [true, false])
  for (const transposeB of [true, false])
    add(splitProduct, { transposeA, transposeB, vec: 4, add: true, part: 'upper', triangular: false })
add(splitProduct, { transposeA: true, transposeB: true, vec: 1, add: false, part: 'all', triangular: false })
for (const D of [64, 128, 256])
  add(causalAttention, { D, heads: 8, kvHeads: 2, L: 1024, sliding: D === 64 ? 512 : 0 })
for (const kind of ['symmetric', 'asymmetric', 'two-level'] satisfies GridKind[]) {
  for (const each of ['unit', 'row']) add(fitUnits, { kind, ratios: true, each })
  add(fitUnits, { kind, ratios: false, each: 'unit' })
  add(snapWeights, { kind })
  add(encodeWeights, { kind, dtype: kind === 'symmetric' ? 'i8' : 'u8' })
  add(gptqBlock, { kind, order: true }, { kind, order: false })
  for (const group of [32, 64, 128]) if (kind !== 'symmetric') add(searchGroupClip, { kind, group })
}
add(fitUnits, { kind: 'two-level', ratios: true, each: 'unit', zeros: 'integer' })
add(searchGroupClip, { kind: 'two-level', group: 128, zeros: 'integer' })
for (const terms of [1, 3] as const)
  for (const side of ['first', 'second'] as const)
    for (const kernel of [splitRows, splitColumns]) add(kernel, { terms, side })
add(addPart)
add(hadamardRows, { block: 16, signs: true }, { block: 16384, signs: false })
add(rotateHeads, { D: 128, R: 64 })
add(fakeQuantizeHeads, { D: 128, bits: 4 }, { D: 64, bits: 8 })

for (const name of ['sm_80', 'sm_90a'] as const)
  test(`the quantizer's kernels assemble for ${name}`, () => {
    for (const [kernel, config] of cases) {
      const { ptx } = compileKernel(kernel, config as never, targets[name])
      const said = assemble(ptx, name)
      const spilled = Number(/(\d+) bytes spill stores/.exec(said)?.[1] ?? 0)
      if (hasPtxas)
        assert.ok(spilled <= mostSpilled, `${kernel.name} ${JSON.stringify(config)} spills ${spilled} bytes`)
    }
  })

test.run()
