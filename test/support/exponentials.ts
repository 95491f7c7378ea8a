import {
  blockDim,
  blockIdx,
  ceilDiv,
  exp2Flushing,
  f32,
  kernel,
  type Out,
  threadIdx,
} from '../../dsl/index.ts'
import type { Device } from '../../runtime/device.ts'
import { prepare } from '../../runtime/kernel.ts'
import { Tensor } from '../../runtime/tensor.ts'

/** `ex2.approx.ftz` of 0, −2^-12, −2 · 2^-12 and so on, N of them. */
export const exponentials = kernel(
  import.meta.url,
  { grid: (d) => [ceilDiv(d.N!, 256)], block: [256] },
  function exponentials(a: { out: Out<f32, 'N'> }) {
    const i = blockIdx.x * blockDim.x + threadIdx.x
    if (i < a.out.dim('N')) a.out.put(exp2Flushing(f32(i) * -(2 ** -12)), i)
  },
)

/** Those results, down to below 2^-127. */
export async function listExponentials(device: Device): Promise<Float32Array> {
  const out = Tensor.allocate(device, 'f32', [127 * 4096 + 100])
  const launch = await prepare(device, exponentials, {}, { out })
  launch.run()
  const listed = Float32Array.from(await out.readFloats())
  out.free()
  return listed
}
