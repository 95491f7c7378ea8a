import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SafetensorsWriter } from '../../checkpoint/safetensors-writer.ts'
import type { DType } from '../../dsl/dtype.ts'
import { e4m3Value } from '../../dsl/float8.ts'
import { bf16Bits, bf16Value, f16Bits, f16Value } from '../../dsl/half.ts'
import { type Rng, rng } from './rng.ts'
import { type TorchTensor, writeTorch } from './torch-files.ts'

/**
 * Quantized checkpoints of other programs, packed here from their documented formulas alone: random codes, scales and zero
 * points, and beside them the weights that they stand for.
 */

export const foreignSchemes = [
  'awq',
  'gptq-v1',
  'gptq-v2',
  'gptq-act-order',
  'gptq-rows',
  'compressed-w4a16',
  'compressed-w4a16-asymmetric',
  'compressed-w8a8',
  'compressed-fp8',
  'qserve',
  'qserve-g128',
  'qserve-g128-later',
  'qserve-w8a8',
  'qserve-real-zeros',
  'lmquant',
  'lmquant-scaled',
  'lmquant-g128',
  'lmquant-g128-signed',
] as const

export type ForeignScheme = (typeof foreignSchemes)[number]

export const foreignConfig = {
  architectures: ['LlamaForCausalLM'],
  hidden_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  intermediate_size: 384,
  vocab_size: 260,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  max_position_embeddings: 256,
  tie_word_embeddings: false,
  eos_token_id: 1,
}

/** A tensor in memory. */
interface Stored {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

type Tensors = Record<string, Stored>

/** The projections of a layer: output and input features. */
export function foreignProjections(): readonly (readonly [path: string, n: number, k: number])[] {
  const { hidden_size: H, intermediate_size: I, head_dim: D } = foreignConfig
  const [q, kv] = [foreignConfig.num_attention_heads * D, foreignConfig.num_key_value_heads * D]
  const layers = Array.from({ length: foreignConfig.num_hidden_layers }, (_, i) => `model.layers.${i}.`)
  return layers.flatMap((prefix) =>
    (
      [
        ['self_attn.q_proj', q, H],
        ['self_attn.k_proj', kv, H],
        ['self_attn.v_proj', kv, H],
        ['self_attn.o_proj', H, q],
        ['mlp.gate_proj', I, H],
        ['mlp.up_proj', I, H],
        ['mlp.down_proj', H, I],
      ] as const
    ).map(([name, n, k]) => [prefix + name, n, k] as const),
  )
}

const stored = (dtype: DType, shape: readonly number[], values: ArrayBufferView): Stored => ({
  dtype,
  shape,
  bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
})

/** One projection: its tensors below its path, and the weights that they stand for. */
type Packed = { readonly tensors: Tensors; readonly weights: Float32Array; readonly scales?: Tensors }
type Packer = (r: Rng, n: number, k: number) => Packed

const half = (x: number): number => f16Value(f16Bits(x))
const randomScale = (r: Rng): number => half(0.002 + 0.01 * r.uniform())

/** Eight values of four bits, the first of `order` lowest. */
function word(order: readonly number[], at: (i: number) => number): number {
  let bits = 0
  for (const [nibble, i] of order.entries()) bits |= at(i) << (4 * nibble)
  return bits | 0
}

const plain = [0, 1, 2, 3, 4, 5, 6, 7]

interface Grouped {
  readonly q: (n: number, k: number) => number
  readonly s: (n: number, group: number) => number
  readonly z: (n: number, group: number) => number
}

function randomGrouped(
  r: Rng,
  n: number,
  k: number,
  groups: number,
  zeros: readonly [number, number],
): Grouped {
  const codes = Uint8Array.from({ length: n * k }, () => r.integer(0, 15))
  const scales = Float32Array.from({ length: n * groups }, () => randomScale(r))
  const zero = Uint8Array.from({ length: n * groups }, () => r.integer(...zeros))
  return {
    q: (row, column) => codes[row * k + column]!,
    s: (row, group) => scales[row * groups + group]!,
    z: (row, group) => zero[row * groups + group]!,
  }
}

const matrix = (n: number, k: number, at: (row: number, column: number) => number): Float32Array =>
  Float32Array.from({ length: n * k }, (_, i) => at(Math.floor(i / k), i % k))

const words = (rows: number, columns: number, at: (row: number, column: number) => number): Stored =>
  stored('i32', [rows, columns], Int32Array.from(matrixOf(rows, columns, at)))

function* matrixOf(
  rows: number,
  columns: number,
  at: (row: number, column: number) => number,
): Generator<number> {
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) yield at(row, column)
}

const halfs = (rows: number, columns: number, at: (row: number, column: number) => number): Stored =>
  stored('f16', [rows, columns], Uint16Array.from(matrixOf(rows, columns, at), f16Bits))

const awq: Packer = (r, n, k) => {
  const groups = k / 64
  const { q, s, z } = randomGrouped(r, n, k, groups, [0, 15])
  const order = [0, 2, 4, 6, 1, 3, 5, 7]
  return {
    tensors: {
      qweight: words(k, n / 8, (column, i) => word(order, (j) => q(8 * i + j, column))),
      qzeros: words(groups, n / 8, (group, i) => word(order, (j) => z(8 * i + j, group))),
      scales: halfs(groups, n, (group, row) => s(row, group)),
    },
    weights: matrix(n, k, (row, column) => {
      const group = Math.floor(column / 64)
      return half(s(row, group) * (q(row, column) - z(row, group)))
    }),
  }
}

const gptq =
  (o: { readonly first: 0 | 1; readonly size?: number; readonly shuffled?: boolean }): Packer =>
  (r, n, k) => {
    const size = o.size ?? k
    const groups = k / size
    const { q, s, z } = randomGrouped(r, n, k, groups, [o.first, 15 + o.first])
    const groupOf = Int32Array.from({ length: k }, (_, column) => Math.floor(column / size))
    if (o.shuffled) for (let i = k - 1; i > 0; i--) swap(groupOf, i, r.integer(0, i))
    return {
      tensors: {
        qweight: words(k / 8, n, (i, row) => word(plain, (j) => q(row, 8 * i + j))),
        qzeros: words(groups, n / 8, (group, i) => word(plain, (j) => z(8 * i + j, group) - o.first)),
        scales: halfs(groups, n, (group, row) => s(row, group)),
        g_idx: stored('i32', [k], groupOf),
      },
      weights: matrix(n, k, (row, column) =>
        half(s(row, groupOf[column]!) * (q(row, column) - z(row, groupOf[column]!))),
      ),
    }
  }

function swap(values: Int32Array, i: number, j: number): void {
  ;[values[i], values[j]] = [values[j]!, values[i]!]
}

const compressed4 =
  (isSymmetric: boolean): Packer =>
  (r, n, k) => {
    const groups = k / 128
    const { q, s, z } = randomGrouped(r, n, k, groups, isSymmetric ? [8, 8] : [0, 15])
    return {
      tensors: {
        weight_packed: words(n, k / 8, (row, i) => word(plain, (j) => q(row, 8 * i + j))),
        weight_scale: halfs(n, groups, s),
        ...(!isSymmetric && {
          weight_zero_point: words(n / 8, groups, (i, group) => word(plain, (j) => z(8 * i + j, group))),
        }),
      },
      weights: matrix(n, k, (row, column) => {
        const group = Math.floor(column / 128)
        return half(s(row, group) * (q(row, column) - z(row, group)))
      }),
    }
  }

const integers = (r: Rng, n: number, k: number): Int8Array =>
  Int8Array.from({ length: n * k }, () => r.integer(-127, 127))

const eightBit =
  (name: string, shape: (n: number) => readonly number[]): Packer =>
  (r, n, k) => {
    const codes = integers(r, n, k)
    const scales = Float32Array.from({ length: n }, () => randomScale(r) / 16).map(half)
    return {
      tensors: {
        weight: stored('i8', [n, k], codes),
        [name]: stored('f16', shape(n), Uint16Array.from(scales, f16Bits)),
      },
      weights: matrix(n, k, (row, column) => scales[row]! * codes[row * k + column]!),
    }
  }

const compressed8: Packer = (r, n, k) => {
  const { q } = { q: integers(r, n, k) }
  const scales = Float32Array.from({ length: n }, () => bf16Value(bf16Bits(0.0005 + 0.001 * r.uniform())))
  return {
    tensors: {
      weight: stored('i8', [n, k], q),
      weight_scale: stored('bf16', [n, 1], Uint16Array.from(scales, bf16Bits)),
    },
    weights: matrix(n, k, (row, column) => scales[row]! * q[row * k + column]!),
  }
}

const compressedFloats: Packer = (r, n, k) => {
  const bytes = Uint8Array.from({ length: n * k }, () => r.integer(0, 126) | (r.integer(0, 1) << 7))
  const scale = Math.fround(0.0004 + 0.001 * r.uniform())
  return {
    tensors: {
      weight: stored('e4m3', [n, k], bytes),
      weight_scale: stored('f32', [1], Float32Array.of(scale)),
    },
    weights: matrix(n, k, (row, column) => Math.fround(e4m3Value(bytes[row * k + column]!) * scale)),
  }
}

/** Bytes of QServe's tiles of 32 by 32: lane 4c + e, word (d, b), byte f; rows 16a + 8b + c, columns 16d + 4e + f. */
function qserveTiles(n: number, k: number, q: (row: number, column: number) => number): Stored {
  const bytes: number[] = []
  for (let rows = 0; rows < n; rows += 32)
    for (let columns = 0; columns < k; columns += 32)
      for (let lane = 0; lane < 32; lane++)
        for (const [d, b] of [
          [0, 0],
          [0, 1],
          [1, 0],
          [1, 1],
        ] as const)
          for (let f = 0; f < 4; f++) {
            const row = rows + 8 * b + Math.floor(lane / 4)
            const column = columns + 16 * d + 4 * (lane % 4) + f
            bytes.push(q(row, column) | (q(row + 16, column) << 4))
          }
  return stored('i8', [n, k / 2], Uint8Array.from(bytes))
}

const qserve =
  (isWhole: boolean): Packer =>
  (r, n, k) => {
    const { q, s, z } = randomGrouped(r, n, k, 1, [0, 15])
    const zeros = Float32Array.from({ length: n }, (_, row) =>
      half((z(row, 0) + (isWhole ? 0 : 0.37)) * s(row, 0)),
    )
    return {
      tensors: {
        qweight: qserveTiles(n, k, q),
        s1_scales: stored(
          'f16',
          [n],
          Uint16Array.from({ length: n }, (_, row) => f16Bits(s(row, 0))),
        ),
        s1_szeros: stored('f16', [n], Uint16Array.from(zeros, f16Bits)),
      },
      // Whole zero points are taken in codes, of which the stored products are roundings.
      weights: matrix(n, k, (row, column) =>
        isWhole
          ? s(row, 0) * (q(row, column) - z(row, 0))
          : Math.fround(s(row, 0) * q(row, column) - zeros[row]!),
      ),
    }
  }

/** Weights of two levels around zero, as a quantizer makes them: w8 = s2 · (q − z), within a signed byte. */
function randomTwoLevels(r: Rng, n: number, k: number) {
  const groups = k / 128
  const s2 = Uint8Array.from({ length: n * groups }, () => r.integer(1, 16))
  const z = Uint8Array.from({ length: n * groups }, (_, i) =>
    s2[i]! > 14 ? r.integer(7, 8) : r.integer(5, 10),
  )
  const q = Uint8Array.from({ length: n * k }, (_, i) => {
    const group = Math.floor(i / 128)
    const reach = Math.min(8, Math.floor(119 / s2[group]!))
    const step = Math.max(-reach, Math.min(reach, Math.round(2.5 * r.normal())))
    return Math.min(15, Math.max(0, z[group]! + step))
  })
  const s1 = Float32Array.from({ length: n }, () => randomScale(r) / 8).map(half)
  const level1 = (row: number, column: number): number => {
    const group = Math.floor((row * k + column) / 128)
    return s2[group]! * (q[row * k + column]! - z[group]!)
  }
  return { groups, s2, z, q, s1, level1 }
}

const qserveGroups =
  (place: (a: number, b: number, c: number) => number): Packer =>
  (r, n, k) => {
    const { groups, s2, z, q, s1, level1 } = randomTwoLevels(r, n, k)
    const parameters = (of: (i: number) => number): Stored => {
      const bytes = new Uint8Array(groups * n)
      for (let group = 0; group < groups; group++)
        for (let rows = 0; rows < n; rows += 32)
          for (let a = 0; a < 2; a++)
            for (let b = 0; b < 2; b++)
              for (let c = 0; c < 8; c++)
                bytes[group * n + rows + place(a, b, c)] =
                  of((rows + 16 * a + 8 * b + c) * groups + group) & 255
      return stored('i8', [groups, n], bytes)
    }
    return {
      tensors: {
        qweight: qserveTiles(n, k, (row, column) => q[row * k + column]!),
        s1_scales: stored('f16', [n], Uint16Array.from(s1, f16Bits)),
        s2_scales: parameters((i) => s2[i]!),
        s2_zeros: parameters((i) => -z[i]! * s2[i]!),
      },
      weights: matrix(n, k, (row, column) => s1[row]! * level1(row, column)),
    }
  }

const halfMatrix = (n: number, k: number, weights: Float32Array): Stored =>
  stored('f16', [n, k], Uint16Array.from(weights, f16Bits))

const lmquant =
  (zeros: 'zero' | 'scaled'): Packer =>
  (r, n, k) => {
    const { q, s, z } = randomGrouped(r, n, k, 1, [0, 15])
    const weights = matrix(n, k, (row, column) => s(row, 0) * (q(row, column) - z(row, 0)))
    return {
      tensors: { weight: halfMatrix(n, k, weights) },
      weights,
      scales: {
        'weight.scale.0': halfs(n, 1, s),
        ...(zeros === 'zero'
          ? {
              'weight.zero': stored(
                'i8',
                [n, 1],
                Int8Array.from({ length: n }, (_, row) => z(row, 0)),
              ),
            }
          : { 'weight.scaled_zero': halfs(n, 1, (row) => z(row, 0) * s(row, 0)) }),
      },
    }
  }

const lmquantGroups =
  (first: 0 | -8): Packer =>
  (r, n, k) => {
    const { groups, s2, z, s1, level1 } = randomTwoLevels(r, n, k)
    const weights = matrix(n, k, (row, column) => s1[row]! * level1(row, column))
    return {
      tensors: { weight: halfMatrix(n, k, weights) },
      weights,
      scales: {
        'weight.scale.0': halfs(n, 1, (row) => s1[row]!),
        'weight.scale.1': stored('f16', [n, groups], Uint16Array.from(s2, f16Bits)),
        'weight.zero': stored(
          'i8',
          [n, groups],
          Int8Array.from(z, (zero) => zero + first),
        ),
      },
    }
  }

const packers: Readonly<Record<ForeignScheme, Packer>> = {
  awq,
  'gptq-v1': gptq({ first: 1, size: 128 }),
  'gptq-v2': gptq({ first: 0, size: 64 }),
  'gptq-act-order': gptq({ first: 1, size: 128, shuffled: true }),
  'gptq-rows': gptq({ first: 1 }),
  'compressed-w4a16': compressed4(true),
  'compressed-w4a16-asymmetric': compressed4(false),
  'compressed-w8a8': compressed8,
  'compressed-fp8': compressedFloats,
  qserve: qserve(true),
  'qserve-real-zeros': qserve(false),
  'qserve-g128': qserveGroups((a, b, c) => c * 4 + a * 2 + b),
  'qserve-g128-later': qserveGroups((a, b, c) => a * 16 + c * 2 + b),
  'qserve-w8a8': eightBit('dequant_scale', (n) => [n]),
  lmquant: lmquant('zero'),
  'lmquant-scaled': lmquant('scaled'),
  'lmquant-g128': lmquantGroups(0),
  'lmquant-g128-signed': lmquantGroups(-8),
}

const compressedConfig = (weights: object, inputs?: object) => ({
  quant_method: 'compressed-tensors',
  config_groups: { group_0: { targets: ['Linear'], weights, input_activations: inputs ?? null } },
})
const four = { num_bits: 4, type: 'int', strategy: 'group', group_size: 128 }
const perToken = { num_bits: 8, type: 'int', strategy: 'token', symmetric: true, dynamic: true }

/** `quantization_config`, where a scheme has one. */
const declared: Readonly<Partial<Record<ForeignScheme, object>>> = {
  awq: { quant_method: 'awq', bits: 4, group_size: 64, version: 'gemm', zero_point: true },
  'gptq-v1': { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: false },
  'gptq-v2': { quant_method: 'gptq', bits: 4, group_size: 64, checkpoint_format: 'gptq_v2' },
  'gptq-act-order': { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: true },
  'gptq-rows': { quant_method: 'gptq', bits: 4, group_size: -1 },
  'compressed-w4a16': compressedConfig({ ...four, symmetric: true }),
  'compressed-w4a16-asymmetric': compressedConfig({ ...four, symmetric: false }),
  'compressed-w8a8': compressedConfig(
    { num_bits: 8, type: 'int', strategy: 'channel', symmetric: true },
    perToken,
  ),
  'compressed-fp8': compressedConfig(
    { num_bits: 8, type: 'float', strategy: 'tensor', symmetric: true },
    { ...perToken, type: 'float' },
  ),
}

/** The weights of each projection, by its path. */
export type ForeignTruth = ReadonlyMap<string, Float32Array>

/** Writes a checkpoint as the scheme's program would, and returns what its projections stand for. */
export async function writeForeign(folder: string, scheme: ForeignScheme, seed = 1): Promise<ForeignTruth> {
  const r = rng(seed)
  const { hidden_size: H, vocab_size: V, num_hidden_layers: layers } = foreignConfig
  const random = (shape: readonly number[], around: number): Stored =>
    stored(
      'f16',
      shape,
      Uint16Array.from({ length: shape.reduce((a, b) => a * b) }, () => f16Bits(around + r.normal() / 8)),
    )
  const tensors: Tensors = {
    'model.embed_tokens.weight': random([V, H], 0),
    'model.norm.weight': random([H], 1),
    'lm_head.weight': random([V, H], 0),
  }
  for (let layer = 0; layer < layers; layer++)
    for (const name of ['input_layernorm', 'post_attention_layernorm'])
      tensors[`model.layers.${layer}.${name}.weight`] = random([H], 1)
  const scales: Tensors = {}
  const truth = new Map<string, Float32Array>()
  for (const [path, n, k] of foreignProjections()) {
    const packed = packers[scheme](r, n, k)
    truth.set(path, packed.weights)
    for (const [name, tensor] of Object.entries(packed.tensors)) tensors[`${path}.${name}`] = tensor
    for (const [name, tensor] of Object.entries(packed.scales ?? {})) scales[`${path}.${name}`] = tensor
  }
  mkdirSync(folder, { recursive: true })
  const quantization = declared[scheme]
  const config = { ...foreignConfig, ...(quantization && { quantization_config: quantization }) }
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  if (scheme.startsWith('qserve')) writeTorch(join(folder, 'pytorch_model.bin'), torchTensors(tensors))
  else if (scheme.startsWith('lmquant')) {
    writeTorch(join(folder, 'model.pt'), torchTensors(tensors))
    writeTorch(join(folder, 'scale.pt'), torchTensors(scales))
  } else await writeSafetensors(join(folder, 'model.safetensors'), tensors)
  return truth
}

const classes: Partial<Record<DType, string>> = { f16: 'HalfStorage', i8: 'CharStorage', f32: 'FloatStorage' }

const torchTensors = (tensors: Tensors): Record<string, TorchTensor> =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => [
      name,
      { type: classes[dtype]!, shape, bytes },
    ]),
  )

async function writeSafetensors(path: string, tensors: Tensors): Promise<void> {
  const plans = Object.entries(tensors).map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
  const writer = await SafetensorsWriter.create(path, plans)
  for (const [name, { bytes }] of Object.entries(tensors)) await writer.write(name, bytes)
  await writer.finish()
}
