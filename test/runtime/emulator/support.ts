import type { Param, Program } from '../../../codegen/program.ts'
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

/** A hand-written kernel: parameters are `p0`, `p1`, …, `.u64` for arrays and `.u32`, `.s32` or `.f32` for scalars. */
export interface TestKernel {
  readonly name: string
  readonly ptx: string
  readonly block: readonly [number, number, number]
  readonly sharedBytes?: number
}

/** PTX text of one kernel around `body`, which may use `p0` … and declares its registers itself. */
export function kernelText(
  name: string,
  params: readonly ('u64' | 'u32' | 's32' | 'f32')[],
  block: readonly [number, number, number],
  body: string,
): string {
  const list = params.map((type, i) => `.param .${type} p${i}`).join(', ')
  return `.visible .entry ${name}(${list})\n.reqntid ${block.join(', ')}\n{\n${body}\nret;\n}\n`
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
  args: readonly (Data | number)[],
  options: EmulatorOptions = {},
): Promise<void> {
  const device = openEmulator(options)
  try {
    const ranges = args.map((arg) => {
      if (typeof arg === 'number') return undefined
      const range = device.allocate(Math.max(arg.byteLength, 1))
      device.write(range, arg)
      return range
    })
    const values = args.map((arg, i) => (typeof arg === 'number' ? arg : ranges[i]!.address))
    device.prepareLaunch(device.load(programOf(kernel)), { grid }, values).run()
    await device.synchronize()
    for (const [i, arg] of args.entries()) if (typeof arg !== 'number') await device.read(arg, ranges[i]!)
  } finally {
    await device.close()
  }
}
