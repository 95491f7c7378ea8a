import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { f16Bits, f16Value } from '../../dsl/half.ts'
import { roundHalfEven } from '../../dsl/math.ts'
import { CheckpointError } from '../error.ts'
import type { QuantizedMatrix } from '../quantized-matrix.ts'
import { type HostTensor, type TensorSource, widen } from '../tensor.ts'
import { openTorchFile } from '../torch-file.ts'
import type { ForeignFiles, ForeignWeights } from './foreign.ts'
import { kernelGroup, readShaped } from './foreign.ts'
import { twoLevelMatrix, wholeZeros } from './progressive.ts'

/** The file beside `model.pt` that says how its weights were rounded. */
export const scalesFileName = 'scale.pt'

/**
 * LMQuant and DeepCompressor: `model.pt` holds weights that have been rounded and multiplied out, `scale.pt` their scales,
 * `W.weight.scale.0` of rows and, with two levels, `W.weight.scale.1` of groups, and zero points: `W.weight.zero` in codes,
 * which early versions count from −8, or `W.weight.scaled_zero`, in weights with one level and in codes of the first with two.
 * The codes are recovered by division; each must come back to the weight that it came from.
 */
export function recognizeLmquant(files: ForeignFiles): ForeignWeights | undefined {
  const { folder, paths } = files
  const scalesPath = join(folder, scalesFileName)
  if (!existsSync(scalesPath) || !files.tensors.has(`${paths[0]}.weight`)) return undefined
  const source = openTorchFile(scalesPath)
  // Scales are a hundredth of the weights: all of them are read at once, and the file is closed.
  const scales = inMemory(source)
  source.close()
  const first = `${paths[0]}.weight`
  const hasGroups = scales.has(`${first}.scale.1`)
  if (!scales.has(`${first}.scale.0`))
    throw new CheckpointError(`${scalesPath} has no ${first}.scale.0; is it the file beside this model.pt?`)

  const values = (name: string, count: number): Float32Array => {
    const found = widenAny(scales.get(name) ?? missing(scalesPath, name))
    if (found.length !== count)
      throw new CheckpointError(
        `${scalesPath}: ${name} has ${found.length} values, and ${count} are expected`,
      )
    return found
  }
  /** Signed zero points belong to codes from −8 to 7, in one scheme for the whole model. */
  const isSigned = [...scales]
    .filter(([name]) => name.endsWith('.weight.zero'))
    .some(([, tensor]) => widenAny(tensor).some((zero) => zero < 0))

  const codes = (path: string, n: number, k: number): QuantizedMatrix => {
    const weights = widen(readShaped(files, `${path}.weight`, ['f16', 'bf16', 'f32'], [n, k]))
    const name = `${path}.weight`
    const scale = Uint16Array.from(values(`${name}.scale.0`, n), f16Bits)
    const where = `${folder}: ${name}`
    const level1 = (row: number, column: number): number =>
      roundHalfEven(Math.fround(weights[row * k + column]! / f16Value(scale[row]!)))
    if (!hasGroups) {
      const zero = zerosOf(name, n, (products) => wholeZeros(scale, Uint16Array.from(products, f16Bits)))
      const found = new Uint8Array(n * k)
      for (let i = 0; i < found.length; i++) {
        const row = Math.floor(i / k)
        found[i] = inRange(where, level1(row, i % k) + zero[row]!)
      }
      return { rows: n, columns: k, codes: found, scale, zero }
    }
    const groups = groupsOf(name, n)
    const width = k / groups
    const groupScale = Uint8Array.from(values(`${name}.scale.1`, n * groups))
    const zero = zerosOf(name, n * groups, (products) => divide(products, groupScale))
    const found = new Uint8Array(n * k)
    for (let i = 0; i < found.length; i++) {
      const [row, column] = [Math.floor(i / k), i % k]
      const group = row * groups + Math.floor(column / width)
      const code = level1(row, column) / groupScale[group]! + zero[group]!
      found[i] = inRange(where, code)
    }
    const groupMin = Int8Array.from(zero, (z, i) => -z * groupScale[i]!)
    return twoLevelMatrix(where, { rows: n, columns: k, codes: found, scale, groupScale, groupMin })
  }

  function zerosOf(
    name: string,
    count: number,
    fromProducts: (products: Float32Array) => Uint8Array | undefined,
  ): Uint8Array {
    if (scales.has(`${name}.zero`))
      return Uint8Array.from(values(`${name}.zero`, count), (zero) => zero + (isSigned ? 8 : 0))
    const zeros = fromProducts(values(`${name}.scaled_zero`, count))
    if (zeros) return zeros
    throw new CheckpointError(
      `${scalesPath}: ${name}.scaled_zero holds zero points that are no whole codes; quantize the original model instead`,
    )
  }

  const groupsOf = (name: string, n: number): number => widenAny(scales.get(`${name}.scale.1`)!).length / n
  const group = hasGroups ? kernelGroup(columnsOf(files, first) / groupsOf(first, rowsOf(files, first))) : 0
  if (group === undefined)
    throw new CheckpointError(
      `${folder} has groups of a width that no kernel reads; groups of 32, 64 and 128 are read`,
    )
  return {
    scheme: 'LMQuant',
    format: { bits: 4, group, activations: 8 },
    kvBits: 4,
    notes: [],
    owns: (name) => paths.some((path) => name === `${path}.weight`),
    codes,
    floats: (path, n, k) => widen(readShaped(files, `${path}.weight`, ['f16', 'bf16', 'f32'], [n, k])),
  }
}

const rowsOf = ({ tensors }: ForeignFiles, name: string): number => tensors.info(name).shape[0]!
const columnsOf = ({ tensors }: ForeignFiles, name: string): number => tensors.info(name).shape[1]!

/** A recovered code; one that is not whole, or not of 4 bits, did not come from these scales. */
function inRange(where: string, code: number): number {
  if (Number.isInteger(code) && code >= 0 && code <= 15) return code
  throw new CheckpointError(
    `${where} has a weight that is code ${code} of its scales; model.pt and scale.pt do not belong together`,
  )
}

function divide(products: Float32Array, scales: Uint8Array): Uint8Array | undefined {
  const zeros = Float64Array.from(products, (product, i) => product / scales[i]!)
  return zeros.every((zero) => Number.isInteger(zero) && zero >= 0 && zero <= 15)
    ? Uint8Array.from(zeros)
    : undefined
}

function inMemory(source: TensorSource): ReadonlyMap<string, HostTensor> {
  return new Map(source.names.map((name) => [name, source.read(name)]))
}

/** Floats, and integers of 8 bits. */
function widenAny(tensor: HostTensor): Float32Array {
  if (tensor.dtype === 'i8') return Float32Array.from(new Int8Array(new Uint8Array(tensor.bytes).buffer))
  if (tensor.dtype === 'u8') return Float32Array.from(tensor.bytes)
  return widen(tensor)
}

function missing(path: string, name: string): never {
  throw new CheckpointError(`${path} has no ${name}; is it the file beside this model.pt?`)
}
