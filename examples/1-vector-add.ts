/**
 * 1. Vector addition: a kernel is a named function of its run-time arguments, one thread an element.
 *
 * `npx tsx examples/1-vector-add.ts` runs it on the first GPU, or on the PTX emulator where there is none.
 */
import {
  blockDim,
  blockIdx,
  ceilDiv,
  type f32,
  type In,
  kernel,
  type Out,
  openDevice,
  prepare,
  Tensor,
  threadIdx,
} from 'quattuor'

export const add = kernel(
  import.meta.url,
  { grid: (dims) => [ceilDiv(dims.N!, 256)], block: [256] },
  function add(a: { x: In<f32, 'N'>; y: In<f32, 'N'>; out: Out<f32, 'N'> }) {
    const i = blockIdx.x * blockDim.x + threadIdx.x
    if (i < a.out.dim('N')) a.out.put(a.x.at(i) + a.y.at(i), i)
  },
)

const N = 1000
const device = await openDevice()
const x = Tensor.from(
  device,
  'f32',
  [N],
  Float32Array.from({ length: N }, (_, i) => i),
)
const y = Tensor.from(
  device,
  'f32',
  [N],
  Float32Array.from({ length: N }, (_, i) => 2 * i),
)
const out = Tensor.allocate(device, 'f32', [N])

const launch = await prepare(device, add, {}, { x, y, out })
launch.run()

const sums = await out.readFloats()
console.log(`${device.name}: 999 + 2 · 999 = ${sums[999]}`)
await device.close()
