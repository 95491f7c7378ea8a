import type { WgmmaProduct } from '../checks/interface.ts'
import type { MatrixElement } from '../collectives/operand-vectors.ts'
import { isWellPlaced, multiply, stageRegisters, stageRows, type WgmmaForm } from '../collectives/wgmma.ts'
import type { Instruction, Operand, Register } from '../ptx/module.ts'
import type { Local } from '../wasm/function.ts'
import type { I32 } from '../wasm/operations.ts'
import { type CollectiveWriter, gatheredAccumulators } from './collective.ts'
import type { Graph } from './graph.ts'
import { faults, header } from './layout.ts'
import { collectRegisters } from './operands.ts'

/** Columns that the integer forms have; the others have every multiple of 8 up to 256. */
const integerColumns: ReadonlySet<number> = new Set([
  8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256,
])

/** A register of a warp's 32 lanes. */
const registerBytes = 128

/** Writes `wgmma` or `setmaxnreg`, which the four warps of a warpgroup execute together. */
export function writeWarpgroup(writer: CollectiveWriter): void {
  const { instruction } = writer
  writer.requireFullWarp()
  requireFourWarps(writer)
  if (instruction.op === 'setmaxnreg') checkRegisterCount(writer)
  if (instruction.modifiers.mma_async) writeProduct(writer)
  else tellChecker(writer)
}

/** Registers that products use: accumulators and fragments of A. */
export function trackedRegisters({ nodes }: Graph): ReadonlySet<number> {
  const found = new Set<number>()
  for (const { collective } of nodes) {
    const product = collective && productOf(collective)
    if (product) for (const { id } of [...product.d, ...product.a]) found.add(id)
  }
  return found
}

/** What the checker knows of a `wgmma.mma_async`; undefined for other instructions. */
export function productOf(instruction: Instruction): WgmmaProduct | undefined {
  if (instruction.op !== 'wgmma' || !instruction.modifiers.mma_async) return undefined
  const registers = (operand: Operand | undefined): Register[] => {
    const found: Register[] = []
    if (operand?.kind === 'vector') collectRegisters(operand, found)
    return found
  }
  const [d, a] = instruction.operands
  return { d: registers(d), a: registers(a), columns: columnsOf(instruction) }
}

function columnsOf(instruction: Instruction): number {
  return Number(/n(\d+)/.exec(instruction.modifiers.shape!)![1])
}

/** Without checks products are done at once, so fences, groups and waits are nothing. */
function tellChecker(writer: CollectiveWriter): void {
  const { warp, instruction, operands } = writer
  const { w, analysis, context } = warp
  const { checks } = analysis
  if (!checks) return
  const { fence, commit_group: commit, wait_group: wait } = instruction.modifiers
  const thread = w.get(context.firstThread)
  if (wait)
    w.call(checks.wgmmaWait, thread, writer.uniformValue(operands[0]!), w.i32.const(checks.site(instruction)))
  else {
    const call = fence ? checks.wgmmaFence : commit ? checks.wgmmaCommit : checks.warpgroupStep
    w.call(call, thread, w.i32.const(checks.site(instruction)))
  }
}

function checkRegisterCount(writer: CollectiveWriter): void {
  const [count] = writer.operands
  const value = count?.kind === 'integer' ? Number(count.value) : 0
  if (value % 8 !== 0 || value < 24 || value > 256)
    writer.fail('the number of registers must be a multiple of 8 from 24 to 256')
}

/** A warpgroup is four warps of the CTA, the first of which has a number that is a multiple of four. */
function requireFourWarps({ warp, instruction }: CollectiveWriter): void {
  const { w, analysis, context } = warp
  const [x, y, z] = analysis.options.block
  const whole = Math.floor((x * y * z) / 128) * 4
  if (whole * 32 === x * y * z) return
  w.if(w.i32.ge_u(w.i32.load(w.get(context.state), header.warp), w.i32.const(whole)), () =>
    warp.writeFault(faults.partialWarpgroup, instruction),
  )
}

function writeProduct(writer: CollectiveWriter): void {
  const { warp, instruction } = writer
  const { w, m, scratch, context } = warp
  const { dtype, atype, btype } = instruction.modifiers
  const [, a, b, accumulates, ...immediates] = writer.operands as Operand[]
  const columns = columnsOf(instruction)
  const form: WgmmaForm = {
    a: atype as MatrixElement,
    b: btype as MatrixElement,
    accumulator: dtype as 's32' | 'f32',
  }
  if (dtype === 's32' && !integerColumns.has(columns)) writer.fail(`integers have no ${columns} columns`)
  if (dtype === 'f32' && /16/.test(atype!) && atype !== btype) writer.fail('both operands must have one type')
  checkImmediates(writer, immediates)

  const right = openDescriptor(writer, b!)
  const left = a!.kind === 'vector' ? undefined : openDescriptor(writer, a!)
  const { checks } = warp.analysis
  if (checks) {
    const thread = w.get(context.firstThread)
    const matrices = [left ? w.get(left) : w.i64.const(0), w.get(right)] as const
    w.call(
      checks.wgmmaProduct,
      thread,
      ...matrices,
      w.get(context.shared),
      w.i32.const(checks.site(instruction)),
    )
  }
  if (!left) {
    const registers = writer.elements(1).map((element) => writer.source(element))
    if (registers.length !== 4) writer.fail('A is four registers')
    w.call(stageRegisters(m, scratch, form), ...registers.map((push) => push()))
  } else {
    const matrix = w.get(left)
    const number = w.i32.load(w.get(context.state), header.warp)
    w.call(stageRows(m, scratch, form), matrix, number, w.get(context.shared))
    w.release(left)
  }
  const adds = w.let(writer.firstLane(accumulates!))
  withAccumulators(writer, columns / 2, (push) => {
    const address = push()
    const matrix = w.get(right)
    const shared = w.get(context.shared)
    const blocks = w.i32.const(columns / 8)
    w.call(multiply(m, scratch, form), address, matrix, shared, blocks, w.get(adds))
  })
  w.release(right, adds)
}

/** Scales by -1 and transposed operands are legal PTX that the emulator does not have. */
function checkImmediates(writer: CollectiveWriter, immediates: readonly (Operand | undefined)[]): void {
  writer.instruction.form.operands.slice(4).forEach(({ name }, index) => {
    const operand = immediates[index]
    const wanted = name.startsWith('scale') ? 1n : 0n
    if (!operand || (operand.kind === 'integer' && operand.value === wanted)) return
    if (wanted === 1n) writer.fail('the emulator multiplies operands of wgmma by 1 only')
    writer.fail('the emulator has no transposed operands of wgmma: K must run along the rows')
  })
}

/** A matrix descriptor, which must fit its swizzle. */
function openDescriptor(writer: CollectiveWriter, operand: Operand): Local<'i64'> {
  const { warp, instruction } = writer
  const { w, context } = warp
  const descriptor = w.let(writer.firstLane64(operand))
  w.if(w.i32.eqz(w.call(isWellPlaced(warp.m), w.get(descriptor), w.get(context.shared))), () =>
    warp.writeFault(faults.misplacedMatrix, instruction),
  )
  return descriptor
}

/**
 * Runs `use` with the address of D's registers side by side: placement puts them so, unless products have some of their
 * registers in common; those are moved there and back.
 */
function withAccumulators(writer: CollectiveWriter, count: number, use: (push: () => I32) => void): void {
  const { warp } = writer
  const { w, context, scratch } = warp
  const { lanes } = warp.analysis.placement
  const places = writer.elements(0).map((element) => {
    if (element.kind !== 'register') return writer.fail('accumulators are registers')
    return lanes.get(element.register.id)!
  })
  if (places.length !== count) writer.fail(`D is ${count} registers`)
  const inState = (place: number): I32 => w.i32.add(w.get(context.state), w.i32.const(place))
  if (places.every((place, i) => place === places[0]! + registerBytes * i)) {
    use(() => inState(places[0]!))
    return
  }
  const gathered = (index: number): I32 =>
    w.i32.add(w.getGlobal(scratch), w.i32.const(gatheredAccumulators + registerBytes * index))
  places.forEach((place, i) => {
    w.memoryCopy(gathered(i), inState(place), w.i32.const(registerBytes))
  })
  use(() => gathered(0))
  places.forEach((place, i) => {
    w.memoryCopy(inState(place), gathered(i), w.i32.const(registerBytes))
  })
}
