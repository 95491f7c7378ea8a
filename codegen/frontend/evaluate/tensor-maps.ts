import { dtypeBytes } from '../../../dsl/dtype.ts'
import { rowMajor } from '../../../dsl/layout/index.ts'
import type { Register } from '../../ir/op.ts'
import type { TensorMapParam } from '../../program.ts'
import type { Evaluator } from './evaluator.ts'
import type { SharedTile, Tensor } from './memory.ts'
import { swizzleOf } from './tile-layout.ts'
import type { CallSite } from './values.ts'

/** What one instruction of the copy engine copies, as far as the tile says it. */
export type TileBox = Pick<TensorMapParam, 'rows' | 'columns' | 'slabs' | 'swizzle'>

/** The tensor maps of a kernel, in the order of their first use: parameters behind the others. */
export class TensorMaps {
  readonly params: TensorMapParam[] = []
  /** Parameters before the first map. */
  first = 0
  readonly #known = new Map<string, number>()

  /** The index of the parameter that describes a tensor and its tiles. */
  index(tensor: string, box: TileBox): number {
    const key = JSON.stringify([tensor, box.rows, box.columns, box.slabs, box.swizzle])
    let index = this.#known.get(key)
    if (index === undefined) {
      index = this.first + this.params.length
      this.#known.set(key, index)
      this.params.push({ kind: 'tensorMap', name: `${tensor}.map${this.params.length}`, tensor, ...box })
    }
    return index
  }
}

/** The address of the map for a tensor and tiles like `tile`. */
export function tensorMapOf(ev: Evaluator, tensor: Tensor, box: TileBox, site: CallSite): Register {
  if (!tensor.isWhole || tensor.extents.length < 2) {
    const what = tensor.isWhole ? 'a vector' : 'a part of it'
    throw ev.error(
      'E0416',
      `the copy engine takes all of ${tensor.name} as rows and columns, not ${what}`,
      site,
      {
        notes: [{ message: tensor.describe() }],
        help: tensor.isWhole
          ? 'copyBulk copies bytes that lie side by side'
          : 'give the tensor itself, and add the row to the origin: leading dimensions count as rows',
      },
    )
  }
  tensor.accessed(16)
  return ev.emitter.entryValue('tensorMap', 'u64', { index: ev.tensorMaps.index(tensor.name, box) })
}

const largestBox = 256

/** How the copy engine takes a tile. Throws where it cannot, and aligns the tile as its swizzle wants. */
export function boxOf(ev: Evaluator, tile: SharedTile, site: CallSite): TileBox {
  const { leading, rank, shape, dtype, info } = tile
  const refuse = (why: string, help: string): never => {
    throw ev.error('E0416', `the copy engine cannot take ${tile.name}: ${why}`, site, {
      notes: [{ message: tile.describe() }],
      help,
    })
  }
  if (rank !== 2 && rank !== 3)
    return refuse(
      `it has ${rank} dimension${rank === 1 ? '' : 's'} here`,
      'a tile has [rows, columns] or [slabs, rows, columns]: take the part at leading indices with row(…)',
    )
  const [columns, rows, slabs] = [shape.at(-1)!, shape.at(-2)!, rank === 3 ? shape.at(-3)! : 0]
  const rowBytes = columns * dtypeBytes[dtype]
  const isPlain = info.layout.id === rowMajor(shape).id
  const swizzled = isPlain ? 0 : swizzleOf(info.layout, shape, dtype)
  if (swizzled === undefined)
    return refuse(
      'its layout is neither row-major nor swizzled over the bytes of a row',
      [32, 64, 128].includes(rowBytes) && rows % 8 === 0
        ? `shared('${dtype}', swizzledTile([${shape.join(', ')}], '${dtype}'))`
        : `shared('${dtype}', [${shape.join(', ')}])`,
    )
  const most = Math.max(columns, rows, slabs)
  if (most > largestBox)
    return refuse(
      `it has ${most} ${most === columns ? 'columns' : most === rows ? 'rows' : 'slabs'}, and one copy takes ${largestBox}`,
      'copy it in several parts, a leading dimension for them: tile.row(part)',
    )
  if (rowBytes % 16 !== 0) return refuse(`a row has ${rowBytes} bytes`, 'a row is a multiple of 16 bytes')
  const align = swizzled === 0 ? 128 : 8 * swizzled
  const step = shape.slice(leading.length).reduce((product, extent) => product * extent, dtypeBytes[dtype])
  if (leading.length > 0 && step % align !== 0)
    return refuse(
      `its parts are ${step} bytes apart, and must start at multiples of ${align}`,
      `make each a multiple of ${align} bytes`,
    )
  ev.emitter.alignShared(tile.id, align)
  return { rows, columns, slabs, swizzle: swizzled }
}
