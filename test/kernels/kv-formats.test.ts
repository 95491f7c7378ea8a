import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f16Value } from '../../dsl/half.ts'
import { type KvFormatName, kvConfig, kvFormats } from '../../kernels/formats/kv.ts'
import { halfTypes, halfValues, rowKinds, rowsOfKinds } from '../support/halfs.ts'
import { rng } from '../support/rng.ts'

for (const name of Object.keys(kvFormats) as KvFormatName[]) {
  const format = kvFormats[name]
  for (const dtype of halfTypes) {
    test(`${name} returns each value within half a step of its own grid, ${dtype}`, () => {
      const random = rng(3)
      for (const kind of rowKinds) {
        const x = halfValues(rowsOfKinds(random, [kind], 64, dtype), dtype)
        const row = format.encode(x, dtype)
        const decoded = format.decode(row, dtype)
        assert.is(row.codes.length, kvConfig(name, dtype, 64).DC)
        assert.is(row.params.length, kvConfig(name, dtype, 64).kParams ? 2 : 0)
        const [scale, min] = row.params.length > 0 ? (row.params.map(f16Value) as [number, number]) : [0, 0]
        decoded.forEach((value, i) => {
          const wanted = format.params ? Math.min(Math.max(x[i]!, -65504), 65504) : x[i]!
          // The grid begins at the rounded minimum, and a scale rounded down leaves its last step short.
          const edges = Math.abs(min) * 2 ** -10 + 2 ** format.bits * Math.max(scale * 2 ** -11, 2 ** -25)
          const bound = format.params ? scale / 2 + edges : 0
          assert.ok(Math.abs(value - wanted) <= bound, `${kind}: ${value} for ${wanted}, bound ${bound}`)
        })
      }
    })
  }
}

test.run()
