/**
 * 3. A matrix product on tensor cores: int8 weights, packed on the host by the same layout value that describes the
 * MMA's operand, so that a lane finds its fragment in one 16-byte load.
 *
 * One warp computes 16 features of 8 tokens; `kernels/gemm/mma.ts` adds tiles, a copy ring and scales to the same idea.
 */
import {
  atoms,
  blockIdx,
  fragmentOrder,
  type In,
  type i8,
  i32,
  idiv,
  kernel,
  laneIdx,
  loadWords,
  mma,
  type Out,
  openDevice,
  prepare,
  range,
  regs,
  staticAssert,
  Tensor,
  type u32,
} from 'quattuor'

const atom = atoms.m16n8k32.s8s8

export const gemm = kernel(
  import.meta.url,
  { grid: (dims) => [dims.N! / 16, Math.ceil(dims.M! / 8)], block: [32] },
  function gemm(
    a: { w: In<u32, 'Words', 'fragments'>; x: In<i8, 'M K'>; out: Out<i32, 'M N'> },
    c: { readonly N: number; readonly K: number },
  ) {
    staticAssert(c.K % atom.k === 0, `K = ${c.K} must be a multiple of ${atom.k}`)
    const n0 = blockIdx.x * 16
    const m0 = blockIdx.y * 8
    const [group, part] = [laneIdx >>> 2, laneIdx & 3]
    const M = a.x.dim('M')
    // Lanes past the last token read the last one: their results are not stored.
    const token = Math.min(m0 + group, M - 1)

    const acc = regs(4, i32(0))
    for (const k of range(0, c.K, atom.k)) {
      const weights = loadWords(a.w, [idiv(n0 * c.K + k * 16, 4) + laneIdx * 4], 4)
      const low = loadWords(a.x, [token, k + 4 * part], 1)
      const high = loadWords(a.x, [token, k + 4 * part + 16], 1)
      mma(atom, acc, weights, [low[0]!, high[0]!])
    }
    acc.forEach((sum, i) => {
      const m = m0 + 2 * part + (i % 2)
      const n = n0 + group + 8 * Math.floor(i / 2)
      if (m < M) a.out.put(sum, m, n)
    })
  },
)

const [M, N, K] = [5, 48, 96]
const w = Int8Array.from({ length: N * K }, (_, i) => ((i * 37) % 255) - 127)
const x = Int8Array.from({ length: M * K }, (_, i) => ((i * 91) % 255) - 127)

const packed = new Int8Array(N * K)
const order = fragmentOrder(atom, N, K, 8)
for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) packed[order(n, k)] = w[n * K + k]!

const device = await openDevice()
const words = new Uint32Array(packed.buffer)
const out = Tensor.allocate(device, 'i32', [M, N])
const launch = await prepare(
  device,
  gemm,
  { N, K },
  {
    w: Tensor.from(device, 'u32', [words.length], words, 'fragments'),
    x: Tensor.from(device, 'i8', [M, K], x),
    out,
  },
)
launch.run()

const result = await out.read()
let wrong = 0
for (let m = 0; m < M; m++) {
  for (let n = 0; n < N; n++) {
    let sum = 0
    for (let k = 0; k < K; k++) sum += w[n * K + k]! * x[m * K + k]!
    if (result[m * N + n] !== sum) wrong++
  }
}
console.log(`${device.name}: ${wrong} of ${M * N} sums differ from the host's`)
await device.close()
