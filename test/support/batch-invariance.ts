import { dtypeBytes } from '../../dsl/dtype.ts'
import { bytesOf } from '../../runtime/bytes.ts'
import type { Device } from '../../runtime/device.ts'
import { assertSame, type HostArguments, type HostTensor, type KernelCase, runKernel } from './run-kernel.ts'

/** A tensor's rows `start` to `end`. */
function rowsOf({ dtype, shape, data, tag }: HostTensor, start: number, end: number): HostTensor {
  const [rows, ...rest] = shape as [number, ...number[]]
  const width = data ? data.length / rows : 0
  const part = { dtype, shape: [end - start, ...rest], ...(tag && { tag }) }
  return data ? { ...part, data: data.slice(start * width, end * width) } : part
}

/** The arguments of a launch over rows `start` to `end`; `names` are the arguments that have one row each. */
function sliceRows(args: HostArguments, names: readonly string[], start: number, end: number): HostArguments {
  const sliced = names.map((name) => [name, rowsOf(args[name] as HostTensor, start, end)])
  return { ...args, ...Object.fromEntries(sliced) }
}

/**
 * Checks that rows computed in several launches are, bit for bit, those of one launch: `cuts` are the rows at which
 * launches begin, from 0. `outputs` are the tensors to compare, among `names`.
 */
export async function assertSameInParts(
  device: Device,
  { kernel, config, args, name }: KernelCase,
  names: readonly string[],
  outputs: readonly string[],
  cuts: readonly number[],
): Promise<void> {
  const rows = (args[names[0]!] as HostTensor).shape[0]!
  const whole = await runKernel(device, kernel, config, args)
  for (const [i, start] of cuts.entries()) {
    const end = cuts[i + 1] ?? rows
    const part = await runKernel(device, kernel, config, sliceRows(args, names, start, end))
    for (const output of outputs) {
      const width = whole[output]!.length / rows
      const expected = whole[output]!.slice(start * width, end * width)
      const bytes = width * dtypeBytes[(args[output] as HostTensor).dtype]
      assertSame(
        bytesOf(part[output]!),
        bytesOf(expected),
        bytes,
        `${name}, rows ${start} to ${end}: ${output}`,
      )
    }
  }
}

/** Every row alone. */
export const eachRow = (rows: number): number[] => Array.from({ length: rows }, (_, i) => i)
