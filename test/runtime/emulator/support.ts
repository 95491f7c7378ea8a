import type { Param, Program } from '../../../codegen/program.ts'
import type { TensorMap } from '../../../runtime/device.ts'
import { type EmulatorOptions, openEmulator } from '../../../runtime/emulator/device.ts'
import { assemble } from '../../support/ptxas.ts'

export type Data =
  | Float32Array
  | Int32Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | Int8Array
  | BigUint64Array

/** An array, and how the copy engine sees it. */
export type Mapped = Omit<TensorMap, 'address'> & { readonly data: Data }

/**
 * A hand-written kernel: parameters are `p0`, `p1`, …, `.u64` for arrays, `.u32`, `.s32` or `.f32` for scalars, 128 bytes
 * for tensor maps.
 */
export interface TestKernel {
  readonly name: string
  readonly ptx: string
  readonly block: readonly [number, number, number]
  readonly sharedBytes?: number
}

/** PTX text of one kernel around `body`, which may use `p0` … and declares its registers itself. */
export function kernelText(
  name: string,
  params: readonly ('u64' | 'u32' | 's32' | 'f32' | 'map')[],
  block: readonly [number, number, number],
  body: string,
  cluster = 1,
): string {
  const list = params.map((type, i) =>
    type === 'map' ? `.param .align 64 .b8 p${i}[128]` : `.param .${type} p${i}`,
  )
  const together = cluster > 1 ? `.explicitcluster\n.reqnctapercluster ${cluster}, 1, 1\n` : ''
  return `.visible .entry ${name}(${list.join(', ')})\n.reqntid ${block.join(', ')}\n${together}{\n${body}\nret;\n}\n`
}

/** A module for sm_90a that `ptxas` accepts (where it is installed). */
export function moduleText(kernels: readonly string[], files: readonly string[] = []): string {
  const names = files.map((file, i) => `.file ${i + 1} "${file}"\n`).join('')
  const text = `.version 8.4\n.target sm_90a\n.address_size 64\n${names}.extern .shared .align 1024 .b8 smem[];\n${kernels.join('\n')}`
  assemble(text, 'sm_90a')
  return text
}

export function programOf(kernel: TestKernel): Program {
  const header = new RegExp(`\\.entry ${kernel.name}\\(([^)]*)\\)`).exec(kernel.ptx)![1]!
  const params = header
    .split(',')
    .filter((text) => text.trim() !== '')
    .map((text): Param => {
      if (text.includes('[128]'))
        return { kind: 'tensorMap', name: text, tensor: '', rows: 1, columns: 1, slabs: 0, swizzle: 0 }
      const [, type, name] = /\.param \.(\w+) (\w+)/.exec(text)!
      if (type !== 'u64')
        return { kind: 'scalar', name: name!, dtype: type === 'f32' ? 'f32' : type === 's32' ? 'i32' : 'u32' }
      return {
        kind: 'tensor',
        name: name!,
        dtype: 'u8',
        shape: [],
        words: [],
        tag: '',
        access: 'inout',
        align: 1,
      }
    })
  return {
    name: kernel.name,
    target: 'sm_90a',
    config: {},
    ptx: kernel.ptx,
    params,
    block: kernel.block,
    cluster: 1,
    overlaps: false,
    sharedBytes: kernel.sharedBytes ?? 0,
    sources: [],
  }
}

/** Runs a kernel on a fresh emulator; arrays are copied in before and back after. */
export async function run(
  kernel: TestKernel,
  grid: readonly [number, number, number],
  args: readonly (Data | Mapped | number)[],
  options: EmulatorOptions = {},
): Promise<void> {
  const device = openEmulator(options)
  try {
    const arrays = args.map((arg) => {
      if (typeof arg === 'number') return undefined
      return ArrayBuffer.isView(arg) ? arg : arg.data
    })
    const ranges = arrays.map((array) => {
      if (!array) return undefined
      const range = device.allocate(Math.max(array.byteLength, 1))
      device.write(range, array)
      return range
    })
    const values = args.map((arg, i) => {
      if (typeof arg === 'number') return arg
      const { address } = ranges[i]!
      return ArrayBuffer.isView(arg) ? address : { ...arg, address }
    })
    device.prepareLaunch(device.load(programOf(kernel)), { grid }, values).run()
    await device.synchronize()
    for (const [i, array] of arrays.entries()) if (array) await device.read(array, ranges[i]!)
  } finally {
    await device.close()
  }
}
