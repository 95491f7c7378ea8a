import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cacheCase } from '../../bench/cases/cache.ts'
import { gemmCase, gemmVariants, layerProducts, scaledGemmCase } from '../../bench/cases/gemm.ts'
import { kernelCases, llama3of8B } from '../../bench/cases/index.ts'
import { logitCases, rowCases } from '../../bench/cases/rows.ts'
import { launchMicroseconds } from '../../bench/measure.ts'
import { prepareCase } from '../../bench/prepare-case.ts'
import { profiledDevice } from '../../bench/profile.ts'
import { builtinKernels, defaultShape } from '../../kernels/builtin.ts'
import { kvFormats } from '../../kernels/formats/index.ts'
import { openEmulator } from '../../runtime/emulator/device.ts'

const device = openEmulator()
test.after(() => device.close())

const shape = { ...defaultShape, vocabulary: 512 }
const kvs = Object.keys(kvFormats) as (keyof typeof kvFormats)[]
const small = [
  ...gemmVariants.map((variant) => gemmCase(layerProducts(shape)[1]!, 3, variant, device)),
  scaledGemmCase(layerProducts(shape)[0]!, 3, device),
  ...kvs.map((kv) => cacheCase(shape, kv, { kind: 'decode', tokens: 2, context: 70 })),
  cacheCase(shape, 'kv4', { kind: 'prompt', tokens: 66, context: 66 }),
  ...rowCases(shape, 2, device.target),
  ...logitCases(shape, 2),
]

test('every case binds to its kernel and runs, on the first copy and on the last', async () => {
  for (const c of small) {
    const { launches, free } = await prepareCase(device, { ...c, copies: Math.min(c.copies, 3) })
    launches[0]!.run()
    launches.at(-1)!.run()
    await device.synchronize()
    free()
  }
})

test('every kernel of ours has a case', () => {
  const names = new Set(kernelCases(llama3of8B, device, false).map((c) => c.kernel.name))
  // `bench:attention` has those of attention, which take turns of their own, and `bench:startup` those that load weights.
  const elsewhere = /Attention$|^(planPrefill|packHalf|convertHalf)$/
  for (const { kernel } of builtinKernels(device.target))
    assert.ok(names.has(kernel.name) || elsewhere.test(kernel.name), kernel.name)
})

test('work is counted as on paper', () => {
  const [, o] = layerProducts(llama3of8B)
  const [w4a8] = gemmVariants
  const product = gemmCase(o!, 16, w4a8!, device)
  assert.is(product.ops, 2 * 16 * 4096 * 4096)
  const weights = (4096 * 4096) / 2 + 4096 * (2 + 1)
  const activations = 16 * (4096 + 4 + 4) + 2 * 16 * 4096 * 2
  assert.is(product.bytes, weights + activations)
  assert.ok(product.copies * weights >= 150e6)

  const append = cacheCase(llama3of8B, 'kv4', { kind: 'decode', tokens: 16, context: 1024 })
  const cache = 8 * 2 * (64 + 4)
  const vectors = 2 * (6144 + 4096)
  assert.is(append.bytes, 16 * (cache + vectors + 128 * 4 + 4 + 4))
})

test('launches are timed, and a profile has each of them under its name', async () => {
  const [c] = rowCases(shape, 2, device.target).filter(({ kernel }) => kernel.name === 'quantizeRows')
  const { launches } = await prepareCase(device, c!)
  assert.ok((await launchMicroseconds(device, launches)) > 0)

  const profiled = profiledDevice(device)
  const { launches: watched } = await prepareCase(profiled.device, c!)
  watched[0]!.run()
  profiled.start()
  watched[0]!.run()
  watched[0]!.run()
  const shares = await profiled.shares()
  assert.equal(
    shares.map(({ name, launches }) => [name, launches]),
    [['quantizeRows', 2]],
  )
  assert.ok(shares[0]!.ms > 0)
})

test.run()
