import type { Instruction } from '../../ptx/module.ts'
import type { FunctionRef } from '../../wasm/function.ts'
import type { Global, ModuleBuilder } from '../../wasm/module.ts'
import { checkModule } from '../layout.ts'

type Access = FunctionRef<readonly ['i32', 'i32', 'i32', 'i32'], readonly []>
type BarrierCall = FunctionRef<readonly ['i32', 'i32', 'i32', 'i32'], readonly []>
type GlobalAccess = FunctionRef<readonly ['f64', 'i32', 'i32', 'i32'], readonly []>

/** The checker's functions as imports of a translated module (`CheckImports` in `checks/interface.ts`). */
export interface CheckCalls {
  readonly loadGlobal: GlobalAccess
  readonly storeGlobal: GlobalAccess
  readonly atomicGlobal: GlobalAccess
  readonly loadShared: Access
  readonly storeShared: Access
  readonly atomicShared: Access
  readonly asyncCopy: FunctionRef<readonly ['i32', 'f64', 'i32', 'i32', 'i32', 'i32'], readonly []>
  readonly commitGroup: FunctionRef<readonly ['i32'], readonly []>
  readonly waitGroup: FunctionRef<readonly ['i32', 'i32'], readonly []>
  readonly initBarrier: BarrierCall
  readonly arriveBarrier: BarrierCall
  readonly arriveExpecting: BarrierCall
  readonly waitPhase: FunctionRef<readonly ['i32', 'i32', 'i32', 'i32'], readonly ['i32']>
  readonly commitBulk: FunctionRef<readonly ['i32'], readonly []>
  readonly waitBulk: FunctionRef<readonly ['i32', 'i32', 'i32'], readonly []>
  readonly fenceGlobal: FunctionRef<readonly ['i32'], readonly []>
  readonly waitForPrevious: FunctionRef<readonly ['i32'], readonly []>
  readonly launchDependents: FunctionRef<readonly ['i32'], readonly []>
  readonly fenceBarrierInit: FunctionRef<readonly ['i32'], readonly []>
  readonly fenceProxy: FunctionRef<readonly ['i32'], readonly []>
  readonly matrixRow: FunctionRef<readonly ['i32', 'i32', 'i32'], readonly []>
  readonly warpSync: FunctionRef<readonly ['i32'], readonly []>
  readonly endRegion: FunctionRef<readonly [], readonly []>
  readonly warpgroupStep: FunctionRef<readonly ['i32', 'i32'], readonly []>
  readonly registerAccess: FunctionRef<readonly ['i32', 'i32', 'i32'], readonly []>
  readonly wgmmaFence: FunctionRef<readonly ['i32', 'i32'], readonly []>
  readonly wgmmaProduct: FunctionRef<readonly ['i32', 'i64', 'i64', 'i32', 'i32'], readonly []>
  readonly wgmmaCommit: FunctionRef<readonly ['i32', 'i32'], readonly []>
  readonly wgmmaWait: FunctionRef<readonly ['i32', 'i32', 'i32'], readonly []>
  /** Registers of products, by number: what else uses them must be told. */
  readonly tracked: ReadonlySet<number>
  /** Address of a 64-bit count for each node of the graph. */
  readonly counters: Global<'i32'>
  /** Numbers the instruction among `sites`. */
  site(instruction: Instruction): number
  readonly sites: readonly Instruction[]
}

export function importChecks(m: ModuleBuilder, tracked: ReadonlySet<number>): CheckCalls {
  const access = (name: string): Access =>
    m.importFunction(checkModule, name, ['i32', 'i32', 'i32', 'i32'], [])
  const globalAccess = (name: string): GlobalAccess =>
    m.importFunction(checkModule, name, ['f64', 'i32', 'i32', 'i32'], [])
  const sites: Instruction[] = []
  const numbers = new Map<number, number>()
  return {
    loadGlobal: globalAccess('loadGlobal'),
    storeGlobal: globalAccess('storeGlobal'),
    atomicGlobal: globalAccess('atomicGlobal'),
    loadShared: access('loadShared'),
    storeShared: access('storeShared'),
    atomicShared: access('atomicShared'),
    asyncCopy: m.importFunction(checkModule, 'asyncCopy', ['i32', 'f64', 'i32', 'i32', 'i32', 'i32'], []),
    commitGroup: m.importFunction(checkModule, 'commitGroup', ['i32'], []),
    waitGroup: m.importFunction(checkModule, 'waitGroup', ['i32', 'i32'], []),
    initBarrier: access('initBarrier'),
    arriveBarrier: access('arriveBarrier'),
    arriveExpecting: access('arriveExpecting'),
    waitPhase: m.importFunction(checkModule, 'waitPhase', ['i32', 'i32', 'i32', 'i32'], ['i32']),
    commitBulk: m.importFunction(checkModule, 'commitBulk', ['i32'], []),
    waitBulk: m.importFunction(checkModule, 'waitBulk', ['i32', 'i32', 'i32'], []),
    fenceGlobal: m.importFunction(checkModule, 'fenceGlobal', ['i32'], []),
    waitForPrevious: m.importFunction(checkModule, 'waitForPrevious', ['i32'], []),
    launchDependents: m.importFunction(checkModule, 'launchDependents', ['i32'], []),
    fenceBarrierInit: m.importFunction(checkModule, 'fenceBarrierInit', ['i32'], []),
    fenceProxy: m.importFunction(checkModule, 'fenceProxy', ['i32'], []),
    matrixRow: m.importFunction(checkModule, 'matrixRow', ['i32', 'i32', 'i32'], []),
    warpSync: m.importFunction(checkModule, 'warpSync', ['i32'], []),
    endRegion: m.importFunction(checkModule, 'endRegion', [], []),
    warpgroupStep: m.importFunction(checkModule, 'warpgroupStep', ['i32', 'i32'], []),
    registerAccess: m.importFunction(checkModule, 'registerAccess', ['i32', 'i32', 'i32'], []),
    wgmmaFence: m.importFunction(checkModule, 'wgmmaFence', ['i32', 'i32'], []),
    wgmmaProduct: m.importFunction(checkModule, 'wgmmaProduct', ['i32', 'i64', 'i64', 'i32', 'i32'], []),
    wgmmaCommit: m.importFunction(checkModule, 'wgmmaCommit', ['i32', 'i32'], []),
    wgmmaWait: m.importFunction(checkModule, 'wgmmaWait', ['i32', 'i32', 'i32'], []),
    tracked,
    counters: m.global('i32', 0, { export: 'counters' }),
    sites,
    site(instruction) {
      let number = numbers.get(instruction.index)
      if (number === undefined) {
        number = sites.push(instruction) - 1
        numbers.set(instruction.index, number)
      }
      return number
    },
  }
}
