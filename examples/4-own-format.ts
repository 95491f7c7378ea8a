/**
 * 4. A number format of one's own, in one file: 4-bit codes into a table of 16 values that are denser near zero, with
 * one scale for 64 columns. Packing on the host, the kernel that reads it (a matrix-vector product), and the reference
 * that both are checked against.
 */
import {
  barrier,
  blockIdx,
  ceilDiv,
  f32,
  fma,
  type In,
  i32,
  idiv,
  kernel,
  laneIdx,
  loadWords,
  type Out,
  openDevice,
  prepare,
  range,
  shared,
  Tensor,
  threadIdx,
  type u32,
  unroll,
  warpIdx,
  warpSum,
} from 'quattuor'

const GROUP = 64

/** The values that codes 0 to 15 stand for. */
const TABLE = [-1, -0.7, -0.53, -0.39, -0.28, -0.18, -0.09, 0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1]

/** Codes (eight to a word, the first lowest) and scales of a row-major matrix. */
export function pack(weights: Float32Array): { words: Uint32Array; scales: Float32Array } {
  const words = new Uint32Array(weights.length / 8)
  const scales = new Float32Array(weights.length / GROUP)
  for (let g = 0; g < scales.length; g++) {
    const values = weights.subarray(g * GROUP, (g + 1) * GROUP)
    const scale = values.reduce((top, v) => Math.max(top, Math.abs(v)), 0) || 1
    scales[g] = scale
    values.forEach((value, i) => {
      const distance = TABLE.map((entry) => Math.abs(entry - value / scale))
      const code = distance.indexOf(Math.min(...distance))
      words[(g * GROUP + i) >> 3]! |= code << (4 * (i % 8))
    })
  }
  return { words, scales }
}

/** The inverse of `pack`, up to rounding. */
export function unpack(words: Uint32Array, scales: Float32Array): Float32Array {
  return Float32Array.from({ length: words.length * 8 }, (_, i) => {
    const code = (words[i >> 3]! >>> (4 * (i % 8))) & 15
    return TABLE[code]! * scales[Math.floor(i / GROUP)]!
  })
}

/** out = W · x, one warp a row. */
export const matVec = kernel(
  import.meta.url,
  { grid: (dims) => [ceilDiv(dims.N!, 4)], block: [128] },
  function matVec(
    a: {
      w: In<u32, 'N Words', 'table4'>
      scales: In<f32, 'N G'>
      x: In<f32, 'K'>
      out: Out<f32, 'N'>
    },
    c: { readonly K: number; readonly Words: number },
  ) {
    // The table is indexed by run-time codes, so it needs an address: registers have none.
    const table = shared<f32>('f32', [16])
    for (const code of unroll(16)) if (threadIdx.x === code) table.put(f32(TABLE[code]!), code)
    barrier()

    const row = blockIdx.x * 4 + warpIdx
    if (row < a.out.dim('N')) {
      let sum: f32 = 0
      for (const word of range(laneIdx, c.Words, 32)) {
        const [codes] = loadWords(a.w, [row, word], 1)
        let part: f32 = 0
        for (const i of unroll(8)) {
          part = fma(table.at(i32((codes! >>> (4 * i)) & 15)), a.x.at(8 * word + i), part)
        }
        sum = fma(part, a.scales.at(row, idiv(word, GROUP / 8)), sum)
      }
      const total = warpSum(sum)
      if (laneIdx === 0) a.out.put(total, row)
    }
  },
)

const [N, K] = [37, 320]
const weights = Float32Array.from({ length: N * K }, (_, i) => Math.sin(i) ** 3 * (1 + (i % 11)))
const x = Float32Array.from({ length: K }, (_, i) => Math.cos(3 * i))
const { words, scales } = pack(weights)

const device = await openDevice()
const out = Tensor.allocate(device, 'f32', [N])
const launch = await prepare(
  device,
  matVec,
  { K, Words: K / 8 },
  {
    w: Tensor.from(device, 'u32', [N, K / 8], words, 'table4'),
    scales: Tensor.from(device, 'f32', [N, K / GROUP], scales),
    x: Tensor.from(device, 'f32', [K], x),
    out,
  },
)
launch.run()

const quantized = unpack(words, scales)
const result = await out.readFloats()
let worst = 0
for (let n = 0; n < N; n++) {
  let sum = 0
  for (let k = 0; k < K; k++) sum += quantized[n * K + k]! * x[k]!
  worst = Math.max(worst, Math.abs(sum - result[n]!))
}
const error = Math.hypot(...weights.map((v, i) => v - quantized[i]!)) / Math.hypot(...weights)
console.log(`${device.name}: the kernel is within ${worst < 1e-3 ? '0.001' : worst} of its reference; `)
console.log(`the format errs by ${(100 * error).toFixed(1)} % of the weights`)
await device.close()
