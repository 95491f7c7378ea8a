import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type WeightFormat, type WeightFormatName, weightFormats } from '../../../kernels/formats/index.ts'
import { activationType } from '../../../kernels/gemm/operands.ts'
import { wgmmaPlan } from '../../../kernels/gemm/wgmma-plan.ts'
import { provenTiles } from '../../../kernels/gemm/wgmma-tiles.ts'

const names = Object.keys(weightFormats) as WeightFormatName[]

for (const name of names) {
  const format = weightFormats[name] as WeightFormat
  const x = activationType(name, 'f16')
  const all = provenTiles(format, x).map((tiles) => ({ tiles, plan: wgmmaPlan(tiles, format, x) }))

  test(`${name}: parts of a group are whole loads, and no more than a wait can leave pending`, () => {
    for (const { plan } of all) {
      assert.ok(Number.isInteger(plan.groupLoads / plan.parts))
      assert.ok(plan.parts <= 7)
    }
  })

  test(`${name}: products are issued load by load unless other warpgroups have some to issue`, () => {
    for (const { tiles, plan } of all) {
      const others = format.bits === 4 ? plan.consumerGroups >= 4 : plan.consumerGroups >= 2
      assert.is(plan.parts > 1, !others && plan.groupLoads > 1, JSON.stringify(tiles))
    }
  })

  test(`${name}: scales of few tokens are fetched behind the products, and only where sums are added`, () => {
    for (const { tiles, plan } of all)
      assert.is(plan.fetchesLate, plan.partial && tiles.tokens <= 64, JSON.stringify(tiles))
  })
}

test.run()
