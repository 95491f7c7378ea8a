import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openTorchFile, type TorchFile } from '../../checkpoint/torch-file.ts'
import { openModel } from '../../models/open-model.ts'
import { convertCheckpoint } from '../../quantize/convert-checkpoint.ts'
import { exportQServe } from '../../quantize/export-qserve.ts'
import { writeForeign } from '../support/foreign-checkpoints.ts'

const root = mkdtempSync(join(tmpdir(), 'quattuor-export-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))

/** The level-1 bytes of a projection in groups of 128, q · s2 + s2_zeros modulo 256, by the documented places of both. */
function levelOne(file: TorchFile, path: string): Uint8Array {
  const { shape, bytes } = file.read(`${path}.qweight`)
  const [n, k] = [shape[0]!, 2 * shape[1]!]
  const [scales, zeros] = ['s2_scales', 's2_zeros'].map((name) => file.read(`${path}.${name}`).bytes)
  const values = new Uint8Array(n * k)
  for (let row = 0; row < n; row++)
    for (let column = 0; column < k; column++) {
      const [a, b, c] = [(row >> 4) & 1, (row >> 3) & 1, row & 7]
      const [d, e, f] = [(column >> 4) & 1, (column >> 2) & 3, column & 3]
      const at = ((row >> 5) * (k >> 5) + (column >> 5)) * 512 + (c * 4 + e) * 16 + d * 8 + b * 4 + f
      const group = (column >> 7) * n + (row & ~31) + c * 4 + a * 2 + b
      values[row * k + column] = ((bytes[at]! >> (4 * a)) & 15) * scales![group]! + zeros![group]!
    }
  return values
}

for (const scheme of ['qserve', 'qserve-g128', 'qserve-w8a8'] as const)
  test(`${scheme}: what the documented formulas pack is exported as they say`, async () => {
    const [theirs, own, exported] = ['theirs', 'own', 'exported'].map((name) =>
      join(root, `${scheme}-${name}`),
    )
    await writeForeign(theirs!, scheme, 11)
    const foreign = openModel(theirs!)
    await convertCheckpoint(own!, foreign, { producer: 'test' })
    foreign.close()
    const converted = openModel(own!)
    await exportQServe(exported!, converted, {})
    converted.close()
    const [wanted, got] = [theirs!, exported!].map((folder) =>
      openTorchFile(join(folder, 'pytorch_model.bin')),
    )
    assert.equal([...got!.names].sort(), [...wanted!.names].sort())
    for (const name of wanted!.names) {
      const [a, b] = [wanted!.read(name), got!.read(name)]
      assert.equal([b.dtype, b.shape], [a.dtype, a.shape], name)
      // Their zero points may wrap, which ours do not: then it is other codes of the same bytes that they stand for.
      if (scheme !== 'qserve-g128' || !/qweight|s2_zeros/.test(name))
        assert.is(Buffer.compare(b.bytes, a.bytes), 0, name)
      else if (name.endsWith('qweight')) {
        const [one, two] = [wanted!, got!].map((file) => levelOne(file, name.replace('.qweight', '')))
        assert.is(Buffer.compare(two!, one!), 0, name)
      }
    }
    for (const file of [wanted!, got!]) file.close()
  })

test.run()
