import { chmodSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assertRefused, runCli, temporaryFolder } from '../support/run-cli.ts'

const example = resolve(dirname(fileURLToPath(import.meta.url)), '../../examples/1-vector-add.ts')

/** Runs the command line where the tools of the CUDA toolkit print what is given, or are not there. */
async function withTools(tools: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const folder = temporaryFolder()
  for (const [name, prints] of Object.entries(tools)) {
    writeFileSync(join(folder, name), `#!/bin/sh\ncat <<'END'\n${prints}\nEND\n`)
    chmodSync(join(folder, name), 0o755)
  }
  const path = process.env.PATH
  // Shell and cat alone, whatever else is installed beside them.
  for (const name of ['sh', 'cat']) {
    writeFileSync(join(folder, name), `#!/bin/sh\nexec /bin/${name} "$@"\n`)
    chmodSync(join(folder, name), 0o755)
  }
  process.env.PATH = folder
  try {
    return await runCli('compile', example, '--target', 'sm_90a', '--assemble', '--out', folder, ...args)
  } finally {
    process.env.PATH = path
  }
}

const used = 'ptxas info    : Used 40 registers'
const clean = `    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n${used}`
const spilling = `    8 bytes stack frame, 8 bytes spill stores, 8 bytes spill loads\n${used}`
const spillBefore = `
        /*0000*/                   STL [R1], R2 ;
.L_x_1:
        /*0010*/               @P1 BRA \`(.L_x_1) ;`
const spillInside = `
.L_x_1:
	//## File "/kernels/add.ts", line 20
        /*0000*/                   LDL R2, [R1] ;
        /*0010*/               @P1 BRA \`(.L_x_1) ;`

test('--assemble passes what ptxas has nothing against, and wants ptxas', async () => {
  assert.is((await withTools({ ptxas: clean })).code, 0)
  assertRefused(await withTools({}), '--assemble needs ptxas on the path')
})

test('serialized wgmmas fail', async () => {
  const note = "ptxas info : (C7510) Potential Performance Loss: wgmma serialized in the function 'add'"
  assertRefused(await withTools({ ptxas: `${note}\n${clean}` }), '(C7510)')
})

test('spills fail inside a loop, where a disassembler shows it', async () => {
  assertRefused(
    await withTools({ ptxas: spilling, nvdisasm: spillInside }),
    'kernel add spills registers inside a loop, at /kernels/add.ts:20',
  )
  assertRefused(
    await withTools({ ptxas: spilling, cuobjdump: spillInside }),
    'spills registers inside a loop',
  )
  assert.is((await withTools({ ptxas: spilling, nvdisasm: spillBefore })).code, 0)
  assert.is((await withTools({ ptxas: spilling })).code, 0)
})

test.run()
