import type { BuiltinShape } from '../../kernels/builtin.ts'
import type { KvFormatName } from '../../kernels/formats/kv.ts'
import { type Context, cacheCases } from './cache.ts'
import { gemmCase, gemmVariants, headProduct, layerProducts } from './gemm.ts'
import type { KernelCase } from './kernel-case.ts'
import { logitCases, rowCases } from './rows.ts'

/** Llama 3 8B. */
export const llama3of8B: BuiltinShape = {
  dtype: 'f16',
  hidden: 4096,
  intermediate: 14336,
  vocabulary: 128256,
  heads: 32,
  kvHeads: 8,
  headDim: 128,
}

/** The cases of the bench; `quick` keeps a decode step, a batch, and the formats of a W4A8KV4 model. */
export function kernelCases(
  shape: BuiltinShape,
  target: { readonly sharedBytes: number },
  quick: boolean,
): KernelCase[] {
  const tokens = quick ? [1, 64] : [1, 16, 64, 256, 1024]
  const variants = quick ? gemmVariants.filter((v) => 'zero' in v && v.zero === 'epilogue') : gemmVariants
  const kvs: readonly KvFormatName[] = quick ? ['kv4'] : ['kv4', 'kv8', 'kv16']
  const products = layerProducts(shape)
  const steps: Context[] = tokens.flatMap((T) => [
    ...(T <= 256 ? [{ kind: 'decode', tokens: T, context: 1024 } as const] : []),
    ...(T >= 256 ? [{ kind: 'prompt', tokens: T, context: T } as const] : []),
  ])
  const few = tokens.filter((T) => T <= 64)
  return [
    ...variants.flatMap((v) => products.flatMap((p) => tokens.map((M) => gemmCase(p, M, v, target)))),
    ...few.map((M) => gemmCase(headProduct(shape), M, { format: 'w16' }, target)),
    ...kvs.flatMap((kv) => steps.flatMap((step) => cacheCases(shape, kv, step))),
    ...tokens.flatMap((T) => rowCases(shape, T)),
    ...few.flatMap((T) => logitCases(shape, T)),
  ]
}
