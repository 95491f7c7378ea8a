import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { rng } from '../../support/rng.ts'
import { kernelText, moduleText, run } from './support.ts'

/*
 * stmatrix by the definition of its fragments, and against ldmatrix: what it stores, ldmatrix of the same form loads.
 */

const forms = ([1, 2, 4] as const).flatMap((count) => [false, true].map((trans) => ({ count, trans })))
const nameOf = ({ count, trans }: (typeof forms)[number]): string => `x${count}${trans ? 'trans' : ''}`
const words = (count: number, of: string): string =>
  `{${Array.from({ length: count }, (_, i) => `%${of}${i}`).join(', ')}}`

const kernels = forms.map((form) => {
  const { count, trans } = form
  const suffix = `sync.aligned.m8n8.x${count}${trans ? '.trans' : ''}.shared.b16`
  return kernelText(
    nameOf(form),
    ['u64', 'u64', 'u64'],
    [32, 1, 1],
    `.reg .b32 %r<10>, %w<4>, %v<4>; .reg .b64 %rd<10>;
    mov.u32 %r1, %tid.x; mov.u32 %r2, smem;
    ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; ld.param.u64 %rd3, [p2];
    mul.wide.u32 %rd4, %r1, 16; add.u64 %rd5, %rd4, %rd1;
    ld.global.v4.b32 {%w0, %w1, %w2, %w3}, [%rd5];
    // Row l % 8 of matrix l / 8 lies at a place of its own: rows 48 bytes apart, the lanes' order reversed.
    xor.b32 %r3, %r1, 31; mad.lo.u32 %r3, %r3, 48, %r2;
    stmatrix.${suffix} [%r3+16], ${words(count, 'w')};
    bar.warp.sync -1;
    mov.u32 %v0, 0; mov.u32 %v1, 0; mov.u32 %v2, 0; mov.u32 %v3, 0;
    ldmatrix.${suffix} ${words(count, 'v')}, [%r3+16];
    add.u64 %rd6, %rd4, %rd2; st.global.v4.b32 [%rd6], {%v0, %v1, %v2, %v3};
    ld.shared.v4.b32 {%v0, %v1, %v2, %v3}, [%r3+16];
    add.u64 %rd6, %rd4, %rd3; st.global.v4.b32 [%rd6], {%v0, %v1, %v2, %v3};`,
  )
})
const text = moduleText(kernels)

// Lanes without a row of the form read what nobody wrote, so checks get the forms of four matrices only.
for (const [seed, form] of forms.entries())
  for (const checks of form.count === 4 ? [false, true] : [false])
    test(`stmatrix ${nameOf(form)}${checks ? ', checked' : ''}`, async () => {
      const { count, trans } = form
      const random = rng(seed)
      const half = (): number => random.integer(0, 0xffff)
      const fragments = Uint16Array.from({ length: 32 * 8 }, half)
      const loaded = new Uint16Array(32 * 8)
      const rows = new Uint16Array(32 * 8)
      const kernel = { name: nameOf(form), ptx: text, block: [32, 1, 1] as const, sharedBytes: 48 * 32 + 16 }
      await run(kernel, [1, 1, 1], [fragments, loaded, rows], { checks })
      for (let lane = 0; lane < 32; lane++)
        for (let matrix = 0; matrix < count; matrix++)
          for (const element of [0, 1]) {
            const at = lane * 8 + matrix * 2 + element
            assert.is(loaded[at], fragments[at], 'ldmatrix undoes it')
            const [row, column] = [lane >> 2, 2 * (lane & 3) + element]
            const [r, c] = trans ? [column, row] : [row, column]
            assert.is(rows[(8 * matrix + r) * 8 + c], fragments[at], `matrix ${matrix} at ${r}, ${c}`)
          }
    })

test.run()
