import type { BuiltinShape } from '../../kernels/builtin.ts'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { namedShapes } from '../../models/shapes.ts'
import { type Context, cacheCase } from './cache.ts'
import {
  gemmCase,
  gemmVariants,
  headProduct,
  layerProducts,
  scaledGemmCase,
  type TunedDevice,
} from './gemm.ts'
import { groupedCase, groupedFormats, groupTilesCase, mixtral, randomRouting } from './grouped.ts'
import type { KernelCase } from './kernel-case.ts'
import { logitCases, rowCases } from './rows.ts'

/** Llama 3 8B. */
export const llama3of8B: BuiltinShape = { ...namedShapes['llama-3-8b'], dtype: 'f16', vocabulary: 128256 }

/** The cases of the bench; `quick` keeps a decode step, a batch, and the formats of a W4A8KV4 model. */
export function kernelCases(shape: BuiltinShape, device: TunedDevice, quick: boolean): KernelCase[] {
  const tokens = quick ? [1, 64] : [1, 16, 64, 256, 1024]
  const variants = quick ? gemmVariants.filter(({ zero }) => zero === 'epilogue') : gemmVariants
  const kvs: readonly KvFormatName[] = quick ? ['kv4'] : ['kv4', 'kv8', 'kv16']
  const products = layerProducts(shape)
  const gateUp = products.find(({ name }) => name === 'gate_up')!
  const steps: Context[] = tokens.flatMap((T) => [
    ...(T <= 256 ? [{ kind: 'decode', tokens: T, context: 1024 } as const] : []),
    ...(T >= 256 ? [{ kind: 'prompt', tokens: T, context: T } as const] : []),
  ])
  const large: Context[] = [
    { kind: 'decode', tokens: 512, context: 1024 },
    ...[4096, 16384].map((T) => ({ kind: 'prompt', tokens: T, context: T }) as const),
  ]
  const few = tokens.filter((T) => T <= 64)
  return [
    ...variants.flatMap((v) => products.flatMap((p) => tokens.map((M) => gemmCase(p, M, v, device)))),
    ...tokens.map((M) => gemmCase(gateUp, M, { ...variants[0]!, activation: 'silu-mul' }, device)),
    ...(quick ? [] : [scaledGemmCase(products[0]!, 16, device)]),
    ...few.map((M) => gemmCase(headProduct(shape), M, { format: 'w16' }, device)),
    ...kvs.flatMap((kv) => [...steps, ...(quick ? [] : large)].map((step) => cacheCase(shape, kv, step))),
    ...(quick ? [] : [...steps, ...large].map((step) => cacheCase(shape, 'kv4', step, true))),
    ...[...tokens, ...(quick ? [] : [4096, 16384])].flatMap((T) => rowCases(shape, T, device.target)),
    ...few.flatMap((T) => logitCases(shape, T)),
    ...groupedCases(device),
  ]
}

/** A mixture of experts for a batch, where there is `wgmma`. */
function groupedCases(device: TunedDevice): KernelCase[] {
  const counts = randomRouting(64, mixtral)
  const formats = device.target.capability === 90 ? groupedFormats : []
  return [
    groupTilesCase(counts, 16),
    ...formats.flatMap((format) =>
      mixtral.products.map((product) => groupedCase(product, counts, format, device)),
    ),
  ]
}
