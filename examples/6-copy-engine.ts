/**
 * 6. Hopper's copy engine: one thread asks for a tile, all others wait for its barrier. Sums of rows, 128 rows and 32 columns
 * at a time, of a matrix whose extents are no multiples of that: what lies outside arrives as zeros.
 *
 * Needs sm_90a, or the emulator. `QUATTUOR_DEVICE=emulator:checked` lets copies arrive late and finds who does not wait.
 */
import {
  arriveExpecting,
  barrier,
  barriers,
  blockIdx,
  ceilDiv,
  copyTensor,
  type f32,
  fenceBarrierInit,
  type In,
  initBarrier,
  kernel,
  load,
  type Out,
  openDevice,
  prepare,
  range,
  shared,
  swizzledTile,
  Tensor,
  threadIdx,
  unroll,
  waitBarrier,
} from 'quattuor'

export const rowSums = kernel(
  import.meta.url,
  { grid: (dims) => [ceilDiv(dims.M!, 128)], block: [128] },
  function rowSums(a: { x: In<f32, 'M K'>; out: Out<f32, 'M'> }) {
    const tile = shared<f32>('f32', swizzledTile([128, 32], 'f32'))
    const full = barriers(1)
    if (threadIdx.x === 0) {
      initBarrier(full, 0, 1)
      fenceBarrierInit()
    }
    barrier()
    const first = blockIdx.x * 128
    let sum: f32 = 0
    for (const step of range(ceilDiv(a.x.dim('K'), 32))) {
      if (threadIdx.x === 0) {
        arriveExpecting(full, 0, 128 * 32 * 4)
        copyTensor(tile, a.x, [first, step * 32], full, 0)
      }
      waitBarrier(full, 0, step & 1)
      for (const column of unroll(0, 32, 4)) {
        for (const value of load(tile, [threadIdx.x, column], 4)) sum += value
      }
      // Before the tile is filled again, everybody must have read it.
      barrier()
    }
    if (first + threadIdx.x < a.out.dim('M')) a.out.put(sum, first + threadIdx.x)
  },
)

const [M, K] = [300, 100]
const x = Float32Array.from({ length: M * K }, (_, i) => (i * 37) % 101)
const device = await openDevice()
const out = Tensor.allocate(device, 'f32', [M])
const launch = await prepare(device, rowSums, {}, { x: Tensor.from(device, 'f32', [M, K], x), out })
launch.run()

const sums = await out.readFloats()
const wrong = sums.filter((sum, m) => sum !== x.subarray(m * K, (m + 1) * K).reduce((all, v) => all + v))
console.log(`${device.name}: ${wrong.length} of ${M} sums differ from the host's`)
await device.close()
