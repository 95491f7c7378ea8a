/**
 * 2. RMSNorm: one CTA a row, compile-time constants (`c.H` is static in the kernel, and so is every loop over it),
 * vector loads, and a reduction over the CTA from the device library.
 */
import {
  blockIdx,
  blockSum,
  f16,
  f32,
  type In,
  kernel,
  loadRow,
  type Out,
  openDevice,
  prepare,
  rsqrt,
  storeRow,
  Tensor,
} from 'quattuor'

export const rmsNorm = kernel(
  import.meta.url,
  { grid: (dims) => [dims.T!], block: [128] },
  function rmsNorm(
    a: { x: In<f16, 'T H'>; gamma: In<f16, 'H'>; eps: f32; out: Out<f16, 'T H'> },
    c: { readonly H: number },
  ) {
    const row = blockIdx.x
    const share = { columns: c.H, vec: 4 }
    const x = loadRow(a.x, [row], share, f16(0)).map((v) => f32(v))
    const gamma = loadRow(a.gamma, [], share, f16(0)).map((v) => f32(v))

    const squares = blockSum(x.map((v) => v * v).reduce((sum, v) => sum + v))
    const r = rsqrt(squares / c.H + a.eps)
    const y = x.map((v, i) => f16(v * r * gamma[i]!))
    storeRow(a.out, [row], share, y)
  },
)

const [T, H] = [3, 1000]
const device = await openDevice()
const x = Tensor.from(
  device,
  'f16',
  [T, H],
  Float32Array.from({ length: T * H }, (_, i) => (i % 7) - 3),
)
const gamma = Tensor.from(device, 'f16', [H], new Float32Array(H).fill(0.5))
const out = Tensor.allocate(device, 'f16', [T, H])

const launch = await prepare(device, rmsNorm, { H }, { x, gamma, eps: 1e-5, out })
launch.run()

const y = await out.readFloats()
const meanSquare = y.reduce((sum, v) => sum + v * v, 0) / y.length
console.log(`${device.name}: the mean square of the output is ${meanSquare.toFixed(3)}, of γ 0.25`)
await device.close()
