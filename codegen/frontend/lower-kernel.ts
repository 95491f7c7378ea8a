import { fileURLToPath } from 'node:url'
import type { Kernel } from '../../dsl/kernel.ts'
import { blockOf } from '../../dsl/kernel.ts'
import { Bug, Diagnostic } from '../diagnostics.ts'
import type { KernelIr } from '../ir/op.ts'
import type { Config, Param } from '../program.ts'
import type { Target } from '../target.ts'
import { builtins, globals } from './builtins/index.ts'
import { Evaluator } from './evaluate/evaluator.ts'
import type { Index } from './evaluate/memory.ts'
import { Tensor } from './evaluate/memory.ts'
import { bindPattern } from './evaluate/patterns.ts'
import { Scope } from './evaluate/scope.ts'
import { executeBlock } from './evaluate/statements.ts'
import type { Value } from './evaluate/values.ts'
import { DeviceValue } from './evaluate/values.ts'
import { findKernel } from './kernels.ts'
import type { Module } from './names.ts'
import { Modules } from './names.ts'
import type { DeclaredParam, Signature } from './params.ts'
import { parameterType, signatureOf } from './params.ts'
import type { FunctionNode } from './syntax.ts'

export interface FrontendResult {
  readonly ir: KernelIr
  readonly params: readonly Param[]
  readonly block: readonly [number, number, number]
  /** Every source file that was read. */
  readonly modules: readonly Module[]
}

/** Evaluates a kernel for one configuration into IR. Throws `Diagnostic` for the author's errors. */
export function lowerKernel(kernel: Kernel, config: Config, target: Target): FrontendResult {
  const modules = new Modules()
  const module = modules.loadProgram(fileURLToPath(kernel.url))
  const body = findKernel(module, kernel.name)
  const block = blockOf(kernel as Kernel<unknown, Config>, config)
  checkBlock(block, body)
  const signature = signatureOf(body, module, modules, config)
  const cluster = kernel.options.cluster?.(config) ?? 1
  checkCluster(cluster, target, body)
  const ev = new Evaluator({ modules, module, config, target, block, cluster, builtins, globals })
  ev.frame = { ...ev.frame, function: body, statement: undefined }
  try {
    const params = evaluateBody(ev, body, signature, config)
    const { options } = kernel as Kernel<unknown, Config>
    const ir: KernelIr = {
      name: kernel.name,
      params: params.map((p) => ({ name: p.name, type: parameterType(p) })),
      shared: ev.emitter.shared,
      body: [...ev.emitter.entry, ...ev.emitter.root.block],
      block,
      ...(options.maxRegisters && { maxRegisters: options.maxRegisters(config) }),
      ...(options.blocksPerMultiprocessor && {
        blocksPerMultiprocessor: options.blocksPerMultiprocessor(config),
      }),
      ...(cluster > 1 && { cluster }),
    }
    return { ir, params, block, modules: modules.sources }
  } catch (error) {
    if (error instanceof Diagnostic) {
      // Places deeper in the compiler know the span alone.
      if (error.context.span && !error.context.calls)
        error.add(ev.context({ span: error.context.span as never }))
      throw error
    }
    if (error instanceof Bug) throw error
    const where = ev.frame.statement && ev.emitter.location
    throw new Bug(error instanceof Error ? `${error.message}\n${error.stack}` : String(error), where, {
      cause: error,
    })
  }
}

function checkBlock(block: readonly number[], body: FunctionNode): void {
  const threads = block.reduce((a, b) => a * b, 1)
  if (block.every((n) => Number.isInteger(n) && n > 0) && threads <= 1024) return
  throw new Diagnostic('E0412', `a CTA of ${block.join(' × ')} threads is not possible`, {
    span: body.span,
    help: 'the block option gives 1 to 1024 threads',
  })
}

function checkCluster(ctas: number, target: Target, body: FunctionNode): void {
  if (ctas > 1 && target.capability < 90)
    throw new Diagnostic(
      'E0604',
      `clusters need compute capability 9.0, and ${target.name} has ${(target.capability / 10).toFixed(1)}`,
      { span: body.span, help: 'compile for a newer target, or let the cluster option give 1' },
    )
  if ([1, 2, 4, 8].includes(ctas)) return
  throw new Diagnostic('E0412', `a cluster of ${ctas} CTAs is not possible`, {
    span: body.span,
    help: 'the cluster option gives 1, 2, 4 or 8 CTAs',
  })
}

function evaluateBody(ev: Evaluator, body: FunctionNode, signature: Signature, config: Config): Param[] {
  const [a, c] = body.params
  ev.at(body)
  const infos = signature.params.map((p) => ({ ...p, align: p.kind === 'tensor' ? 1 : 4 }))
  const count = infos.length
  const dims = new Map<string, Index>(
    signature.dims.map((word, i) => {
      const register = ev.emitter.entryValue('param', 'i32', { index: count + i })
      return [word, new DeviceValue('i32', register, { min: 0, max: Number.POSITIVE_INFINITY })]
    }),
  )
  ev.tensorMaps.first = count + signature.dims.length
  const args: Record<string, Value> = {}
  for (const [i, info] of infos.entries()) args[info.name] = argument(ev, info, i, dims)
  ev.args = args
  ev.absentArgs = signature.absent
  ev.optionalConstants = signature.optionalConstants
  const scope = new Scope()
  if (a) bindPattern(ev, a.target, args, scope, { isLet: false })
  if (c) bindPattern(ev, c.target, config, scope, { isLet: false })
  if (body.body.kind === 'block') executeBlock(ev, body.body, scope)
  else ev.evaluate(body.body, scope)
  return [
    ...infos.map((info): Param => {
      if (info.kind === 'scalar') return { kind: 'scalar', name: info.name, dtype: info.dtype }
      const { name, dtype, shape, words, tag, access, align } = info
      return { kind: 'tensor', name, dtype, shape, words, tag, access, align }
    }),
    ...signature.dims.map((name): Param => ({ kind: 'dim', name })),
    ...ev.tensorMaps.params,
  ]
}

function argument(
  ev: Evaluator,
  info: DeclaredParam & { align: number },
  index: number,
  dims: Map<string, Index>,
): Value {
  if (info.kind === 'scalar') {
    return new DeviceValue(info.dtype, ev.emitter.entryValue('param', info.dtype, { index }))
  }
  const extents = info.shape.map((extent) => (typeof extent === 'number' ? extent : dims.get(extent)!))
  for (const [k, word] of info.words.entries()) dims.set(word, extents[k]!)
  const register = ev.emitter.entryValue('param', 'address', { index })
  return new Tensor(info, extents, { register, offset: 0, align: 16 }, dims)
}
