/**
 * 7. 4-bit weights on Hopper's tensor cores: a warp of producers keeps a ring of stages full, a warpgroup of consumers
 * multiplies what is there with `wgmma`, and unpacks the next weights meanwhile. W4A8 with one scale and zero point a row:
 * out[m, n] = (Σ q·x − zero[n] · Σ x) · scale[n] · xScale[m], exact but for the roundings of its last line.
 *
 * `kernels/gemm/wgmma.ts` adds more warpgroups, clusters, tiles that take turns, and a way out through shared memory.
 */
import {
  advance,
  barrier,
  blockIdx,
  ceilDiv,
  consumerCursor,
  copyBulk,
  copyTensor,
  expectBytes,
  f32,
  highNibbles,
  type In,
  type i8,
  i32,
  initRing,
  kernel,
  laneIdx,
  loadOffset,
  loadWords,
  lowNibbles,
  makeRing,
  matrixOperand,
  type Out,
  openDevice,
  packedShape,
  prepare,
  producerCursor,
  range,
  regs,
  release,
  shared,
  specialize,
  swizzledTile,
  Tensor,
  threadIdx,
  type u32,
  unroll,
  waitEmpty,
  waitFull,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from 'quattuor'
import { weightFormats } from 'quattuor/kernels'

const { w4a8 } = weightFormats
const TOKENS = 32
const STAGES = 4
/** Words of a unit of weights: 64 rows and 128 columns. */
const WORDS = 1024
const STAGE_BYTES = WORDS * 4 + TOKENS * 128

const atom = wgmmaAtom(TOKENS, 'u8s8')

export const gemmRing = kernel(
  import.meta.url,
  { grid: (dims) => [ceilDiv(dims.M!, TOKENS), ceilDiv(dims.N!, 64)], block: [160] },
  function gemmRing(a: {
    w: In<u32, 'Strips Units 1024', 'w4a8'>
    zero: In<i32, 'N'>
    scale: In<f32, 'N'>
    x: In<i8, 'M K'>
    xSum: In<i32, 'M'>
    xScale: In<f32, 'M'>
    out: Out<f32, 'M N'>
  }) {
    const [token, strip] = [blockIdx.x * TOKENS, blockIdx.y]
    const units = a.w.dim('Units')
    const ws = shared<u32>('u32', [STAGES, WORDS])
    const xs = shared<i8>('i8', swizzledTile([STAGES, TOKENS, 128], 'i8'))
    const ring = makeRing({ stages: STAGES, producers: 1, consumers: 4, sharers: 1 })
    if (threadIdx.x === 0) initRing(ring)
    barrier()

    const fill = (): void => {
      if (laneIdx !== 0) return
      const at = producerCursor()
      for (const unit of range(units)) {
        waitEmpty(ring, at)
        expectBytes(ring, at.stage, STAGE_BYTES)
        copyBulk(ws, [at.stage, 0], a.w, [strip, unit, 0], WORDS * 4, ring.full, at.stage, { evict: 'first' })
        copyTensor(xs.row(at.stage), a.x, [token, unit * 128], ring.full, at.stage)
        advance(at, ring, 1)
      }
    }

    const multiply = (): void => {
      const acc = regs(atom.c.registers, i32(0))
      const at = consumerCursor(0)
      let previous: i32 = 0
      for (const unit of range(units)) {
        waitFull(ring, at)
        for (const load of unroll(2)) {
          const words = loadWords(ws, [at.stage, loadOffset(load, threadIdx.x)], 4)
          const [low, high] = [words.map(lowNibbles), words.map(highNibbles)]
          wgmmaFence()
          wgmma(atom, acc, low, matrixOperand(xs.row(at.stage), [0, 64 * load]), true)
          wgmma(atom, acc, high, matrixOperand(xs.row(at.stage), [0, 64 * load + 32]), true)
          wgmmaCommit()
          // All products but these two are done, so the stage before this one is free.
          wgmmaWait(1)
          if (load === 0 && unit > 0) release(ring, previous)
        }
        previous = at.stage
        advance(at, ring, 1)
      }
      wgmmaWait(0)
      for (const i of unroll(atom.c.registers)) {
        const place = atom.c.layout(threadIdx.x, i) as i32
        const n = strip * 64 + (place & 63)
        const m = token + (place >> 6)
        if (m < a.x.dim('M') && n < a.out.dim('N')) {
          const sum = f32(acc[i]! - a.zero.at(n) * a.xSum.at(m))
          a.out.put(sum * a.scale.at(n) * a.xScale.at(m), m, n)
        }
      }
    }

    specialize({ consumers: { warps: 4, run: multiply }, producer: { warps: 1, run: fill } })
  },
)

const [M, N, K] = [40, 200, 1024]
const codes = Uint8Array.from({ length: N * K }, (_, i) => (i * 37 + (i >> 7)) % 16)
const x = Int8Array.from({ length: M * K }, (_, i) => ((i * 91) % 255) - 127)
const zero = Int32Array.from({ length: N }, (_, n) => n % 16)
const scale = Float32Array.from({ length: N }, (_, n) => 0.01 + n / 10000)
const xScale = Float32Array.from({ length: M }, (_, m) => 0.02 + m / 1000)
const xSum = Int32Array.from({ length: M }, (_, m) =>
  x.subarray(m * K, (m + 1) * K).reduce((all, v) => all + v),
)

const device = await openDevice()
const out = Tensor.allocate(device, 'f32', [M, N])
const launch = await prepare(
  device,
  gemmRing,
  {},
  {
    w: Tensor.from(device, 'u32', packedShape(w4a8, N, K), w4a8.pack({ codes }, N, K), w4a8.tag),
    zero: Tensor.from(device, 'i32', [N], zero),
    scale: Tensor.from(device, 'f32', [N], scale),
    x: Tensor.from(device, 'i8', [M, K], x),
    xSum: Tensor.from(device, 'i32', [M], xSum),
    xScale: Tensor.from(device, 'f32', [M], xScale),
    out,
  },
)
launch.run()

const result = await out.readFloats()
const { fround } = Math
let wrong = 0
for (let m = 0; m < M; m++) {
  for (let n = 0; n < N; n++) {
    let sum = 0
    for (let k = 0; k < K; k++) sum += (codes[n * K + k]! - zero[n]!) * x[m * K + k]!
    if (result[m * N + n] !== fround(fround(fround(sum) * scale[n]!) * xScale[m]!)) wrong++
  }
}
console.log(`${device.name}: ${wrong} of ${M * N} results differ from the host's`)
await device.close()
