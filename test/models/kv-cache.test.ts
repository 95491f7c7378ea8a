import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type KvFormatName, kvFormats } from '../../kernels/formats/kv.ts'
import { KvCache } from '../../models/kv-cache.ts'
import { hostDevice } from '../support/host-device.ts'
import { modelConfig } from '../support/model-config.ts'

const config = modelConfig()

test('a page holds 64 tokens of every layer and head: codes, and a scale and minimum each for coded formats', () => {
  const tokens = 2 * config.layers * config.kvHeads * 64
  const bytes = (format: KvFormatName) => KvCache.pageBytes(config, format, 'f16')
  assert.is(bytes('kv16'), tokens * 128)
  assert.is(bytes('kv8'), tokens * (64 + 4))
  assert.is(bytes('kv4'), tokens * (32 + 4))
})

for (const format of Object.keys(kvFormats) as KvFormatName[])
  test(`${format}: the cache takes as many bytes as its pages, and gives them back`, () => {
    const device = hostDevice('host', 1 << 24)
    const pages = 5
    const cache = new KvCache(device, config, format, 'bf16', pages)
    const tensors = cache.layers.flatMap(({ kv, kvParams }) => [kv, kvParams])
    const total = tensors.reduce((sum, tensor) => sum + (tensor?.bytes ?? 0), 0)
    assert.is(total, pages * KvCache.pageBytes(config, format, 'bf16'))
    assert.is(cache.layers.length, config.layers)
    cache.free()
    assert.is(device.live(), 0)
  })

test.run()
