import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f16Value } from '../../dsl/half.ts'
import { layout, swizzled, xorSwizzle } from '../../dsl/layout/index.ts'
import { type KvFormatName, kvConfig, kvFormats, PAGE_TOKENS } from '../../kernels/formats/kv.ts'
import { KEYS, KvPages, type KvPlace, VALUES, valueByte } from '../../kernels/formats/kv-pages.ts'
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
        assert.is(row.codes.length, 64)
        assert.is(row.params.length, kvConfig(name, dtype, 64).kvParams ? 2 : 0)
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

for (const name of Object.keys(kvFormats) as KvFormatName[]) {
  for (const D of [64, 96, 128, 256]) {
    test(`${name}: whole pages of heads of ${D} come back as they were written, each code at a place of its own`, () => {
      const random = rng(D)
      const [pages, heads] = [3, 2]
      const cache = new KvPages(name, 'bf16', D, pages, heads)
      const places = eachPlace(pages, heads)
      const rows = places.map(() => {
        const values = Float64Array.from({ length: D }, () => Math.fround(random.normal()))
        return kvFormats[name].encode(values, 'bf16')
      })
      const order = places.map((_, i) => ({ i, key: random.uniform() })).sort((a, b) => a.key - b.key)
      for (const { i } of order) cache.write(places[i]!, rows[i]!)
      places.forEach((place, i) => {
        const { codes, params } = cache.read(place)
        assert.equal([...codes], [...rows[i]!.codes])
        assert.equal(params, rows[i]!.params)
      })
      assert.is(
        cache.kv.length,
        cache.shapes.kv.reduce((a, b) => a * b),
      )
    })
  }
}

test('a page is made for its readers: runs of a key, words of four tokens, chunks of quads in turns', () => {
  for (const D of [64, 96, 128, 256]) {
    const cache = new KvPages('kv4', 'f16', D, 1, 1)
    const codes = new Uint8Array(D)
    const at = (block: typeof KEYS | typeof VALUES, token: number, column: number) => {
      cache.kv.fill(0)
      cache.write(
        { page: 0, head: 0, block, token },
        { codes: codes.map((_, i) => (i === column ? 15 : 0)), params: [0, 0] },
      )
      const found = cache.kv.findIndex((byte) => byte !== 0)
      return { byte: found - block * cache.constants.PB, upper: cache.kv[found] === 0xf0 }
    }
    assert.equal(at(KEYS, 3, 5), { byte: 3 * (D / 2) + 5, upper: false })
    assert.equal(at(KEYS, 63, 32 + 16 + 7), { byte: 63 * (D / 2) + 16 + 7, upper: true })
    assert.equal(at(VALUES, 2, 5), { byte: 16 + 4 + 2, upper: false })
    assert.equal(at(VALUES, 4 + 3, D / 2), { byte: 2 * D + 32 + 3, upper: true })
    assert.equal(at(VALUES, 12, 9), { byte: 6 * D + 16 * (2 ^ (D === 96 ? 2 : 6)) + 4, upper: false })
  }
})

for (const bits of [4, 8]) {
  test(`values of ${bits} bits fill a block without gaps, and a quad's words lie as the layout algebra says`, () => {
    for (const D of [64, 96, 128, 256]) {
      const columns = (D * bits) / 8
      const seen = new Set<number>()
      for (let token = 0; token < 64; token++)
        for (let c = 0; c < columns; c++) seen.add(valueByte(bits, D, token, c))
      assert.is(seen.size, 64 * columns)
      assert.is(Math.max(...seen), 64 * columns - 1)
      if (D === 96) continue
      const quad = Math.log2(4 * columns)
      const order = swizzled(
        layout(
          [
            [4, 16],
            [4, columns / 4],
          ],
          [
            [1, 4 * columns],
            [4, 16],
          ],
        ),
        xorSwizzle(2, 5, quad - 5),
      )
      for (let token = 0; token < 64; token++)
        for (let c = 0; c < columns; c++) assert.is(valueByte(bits, D, token, c), order(token, c))
    }
  })
}

/** All rows of all blocks. */
function eachPlace(pages: number, heads: number): KvPlace[] {
  return Array.from({ length: pages * heads * 2 * PAGE_TOKENS }, (_, i) => ({
    page: Math.floor(i / (heads * 2 * PAGE_TOKENS)),
    head: Math.floor(i / (2 * PAGE_TOKENS)) % heads,
    block: (Math.floor(i / PAGE_TOKENS) % 2) as typeof KEYS | typeof VALUES,
    token: i % PAGE_TOKENS,
  }))
}

test.run()
