/**
 * 5. A weight format of one's own for the library's GEMM: NF4, the 4-bit codes of QLoRA, whose 16 values are quantiles of
 * the normal distribution, with one f16 scale for 64 columns, beside f16 activations.
 *
 * A format is one object: where codes lie (`layout`), how they get there (`pack`, `unpack`), what a lane makes of 16 bytes of
 * them (`fragments`), and the same on the host (`operand`). The kernel below it hands the format to `gemm`, or on Hopper to
 * `gemmWgmma`, which have the copies, the tensor cores and the epilogue. No table of formats has to know it: a kernel's file
 * names its format, and the compiler reads the sources of both.
 */
import {
  atoms,
  type f16,
  f16Bits,
  f16Value,
  f16x2,
  f32,
  type In,
  kernel,
  type Out,
  openDevice,
  packedShape,
  permuteBytes,
  prepare,
  Tensor,
  transposeBytes,
  u32,
  unitOrder,
  type WeightFormat,
  type WeightParts,
} from 'quattuor'
import {
  checkGroups,
  checkMatrix,
  defaultTiles,
  defaultWgmmaTiles,
  eachGroup,
  type GemmConfig,
  gemm,
  gemmOptions,
  gemmWgmma,
  packUnits,
  unpackUnits,
  type WgmmaConfig,
} from 'quattuor/kernels'

/** The values of codes 0 to 15 as f16 bits (arXiv 2305.14314, appendix E). */
const TABLE = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
].map((value) => f16Bits(value))

/** Four words of the low bytes of the table, code 0 in the first byte, and four of the high ones. */
const [LOW, HIGH] = [0, 8].map((shift) =>
  [0, 4, 8, 12].map((first) =>
    [0, 1, 2, 3].reduce((word, i) => word + ((TABLE[first + i]! >>> shift) & 255) * 256 ** i, 0),
  ),
)

/**
 * The bytes of a table of 16 that four codes choose, a nibble each in the low half of a word. `permuteBytes` chooses among
 * eight, by three bits of a nibble: both halves of the table, and then one of the two by the fourth bit.
 */
function lookUp(table: readonly number[], codes: u32): u32 {
  const inHalf = codes & 0x7777
  const lower = permuteBytes(table[0]!, table[1]!, inHalf)
  const upper = permuteBytes(table[2]!, table[3]!, inHalf)
  return permuteBytes(lower, upper, ((codes >>> 1) & 0x4444) | 0x3210)
}

interface Nf4Parts extends WeightParts {
  readonly codes: Uint8Array
  /** f16 bits, [N, K / 64]. */
  readonly scale: Uint16Array
}

const GROUP = 64
const shape = { name: 'nf4', bits: 4, loads: 2, steps: 8, group: GROUP, groupWords: 1 }

const nf4: WeightFormat<Nf4Parts> = {
  ...shape,
  tag: 'nf4',
  activations: ['f16'],
  // Nibble s of each half of a word is k-step s of a load.
  layout: (N, K) => unitOrder(shape, atoms.m16n8k16.f16, N, K),
  pack({ codes, scale }, N, K) {
    checkMatrix(shape, codes.length, N, K)
    checkGroups(shape, 'scale', scale.length, N, K)
    const words = packUnits(shape, N, K, (row, n) => {
      for (let i = 0; i < K / 2; i++) row[i] = codes[n * K + 2 * i]! | (codes[n * K + 2 * i + 1]! << 16)
    })
    eachGroup(shape, N, K, (word, lower, i) => {
      words[word]! |= scale[i]! << (lower ? 16 : 0)
    })
    return words
  },
  unpack(words, N, K) {
    const codes = new Uint8Array(N * K)
    const scale = new Uint16Array((N * K) / GROUP)
    unpackUnits(shape, words, N, K, 0x000f000f, (row, n) => {
      for (let k = 0; k < K; k++) codes[n * K + k] = row[k >> 1]! >>> (16 * (k % 2))
    })
    eachGroup(shape, N, K, (word, lower, i) => {
      scale[i] = words[word]! >>> (lower ? 16 : 0)
    })
    return { codes, scale }
  },
  types: () => 'f16',
  fragments(words, group) {
    const registers = words.map((word, register) => {
      const scale = f16x2.bits(permuteBytes(group[0]!, 0, register % 2 === 0 ? 0x1010 : 0x3232))
      const [left, right] = [word, word >>> 16]
      // The low and high bytes of four k-steps of one column, and of its neighbour: turned, a register of each k-step.
      const steps = transposeBytes(
        lookUp(LOW!, left),
        lookUp(HIGH!, left),
        lookUp(LOW!, right),
        lookUp(HIGH!, right),
      )
      return steps.map((pair) => u32.bits(f16x2.bits(pair) * scale))
    })
    return [0, 1, 2, 3].map((step) => registers.map((steps) => steps[step]!))
  },
  operand: ({ codes, scale }, { n, k, K }) =>
    f16Bits(f16Value(TABLE[codes[n * K + k]!]!) * f16Value(scale[Math.floor((n * K + k) / GROUP)]!)),
}

/** out = X · Wᵀ. */
export const gemmNf4 = kernel(
  import.meta.url,
  gemmOptions,
  function gemmNf4(
    a: { w: In<u32, 'Strips Units Words', 'nf4'>; x: In<f16, 'M K'>; out: Out<f16, 'M N'> },
    c: GemmConfig | WgmmaConfig,
  ) {
    const parts = {
      format: nf4,
      zero: 'register' as const,
      x: 'f16' as const,
      out: 'f16' as const,
      rowWords: () => [],
    }
    if (c.path === 'wgmma') {
      const rows = (_row: number, count: number) => Array(count).fill(() => 0)
      gemmWgmma(a, c, { ...parts, rows, tokens: [], finish: (sum) => f32(sum) })
    } else gemm(a, c, { ...parts, feature: () => 0, token: () => 0, finish: (sums) => sums })
  },
)

/** Codes of the nearest values, under the scale of each group's largest weight. */
function quantize(weights: Float64Array): Nf4Parts {
  const codes = new Uint8Array(weights.length)
  const scale = new Uint16Array(weights.length / GROUP)
  for (let g = 0; g < scale.length; g++) {
    const group = weights.subarray(g * GROUP, (g + 1) * GROUP)
    scale[g] = f16Bits(group.reduce((top, v) => Math.max(top, Math.abs(v)), 0) || 1)
    group.forEach((value, i) => {
      const distance = TABLE.map((entry) => Math.abs(f16Value(entry) - value / f16Value(scale[g]!)))
      codes[g * GROUP + i] = distance.indexOf(Math.min(...distance))
    })
  }
  return { codes, scale }
}

const [M, N, K] = [10, 96, 384]
const weights = Float64Array.from({ length: N * K }, (_, i) => Math.sin(i) ** 3 * (1 + (i % 11)))
const x = Uint16Array.from({ length: M * K }, (_, i) => f16Bits(Math.cos(3 * i)))
const parts = quantize(weights)

const device = await openDevice()
const { target } = device
const product = { M, N, K }
const constants = { dtype: 'f16', bias: false, residual: false } as const
const ways: (GemmConfig | WgmmaConfig)[] = [{ ...defaultTiles(nf4, product, target), N, K, ...constants }]
const wgmmaTiles = target.name === 'sm_90a' ? defaultWgmmaTiles(nf4, product, 'f16', target) : undefined
if (wgmmaTiles) ways.push({ ...wgmmaTiles, ...constants })

const w = Float64Array.from(weights, (_, i) =>
  f16Value(nf4.operand(parts, { n: Math.floor(i / K), k: i % K, K }, 'register', 'f16')),
)
const packed = Tensor.from(device, 'u32', packedShape(nf4, N, K), nf4.pack(parts, N, K), nf4.tag)
const activations = Tensor.from(device, 'f16', [M, K], x)
for (const way of ways) {
  const out = Tensor.allocate(device, 'f16', [M, N])
  const launch = await prepare(device, gemmNf4, way, { w: packed, x: activations, out })
  launch.run()
  const result = await out.readFloats()
  let far = 0
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0
      let magnitude = 0
      for (let k = 0; k < K; k++) {
        const term = w[n * K + k]! * f16Value(x[m * K + k]!)
        sum += term
        magnitude += Math.abs(term)
      }
      if (Math.abs(sum - result[m * N + n]!) > 2 ** -11 * Math.abs(sum) + K * 2 ** -22 * magnitude) far++
    }
  }
  console.log(
    `${device.name}, ${way.path}: ${far} of ${M * N} sums are further from the host's than f16 rounds`,
  )
}
const error = Math.hypot(...weights.map((v, i) => v - w[i]!)) / Math.hypot(...weights)
console.log(`the format errs by ${(100 * error).toFixed(1)} % of the weights`)
await device.close()
