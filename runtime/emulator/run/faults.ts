import { faults } from '../translate/layout.ts'
import { KernelFault } from './fault.ts'

const descriptions: Readonly<Record<number, readonly [code: string, message: string]>> = {
  [faults.divergentBarrier]: [
    'EMULATOR_DIVERGENT_BARRIER',
    'only some of the warp’s threads arrive at the barrier; the others took another branch',
  ],
  [faults.divergentCollective]: [
    'EMULATOR_DIVERGENT_COLLECTIVE',
    'the lanes that execute it are not those that its mask asks for',
  ],
  [faults.trap]: ['EMULATOR_TRAP', 'the kernel executed trap'],
  [faults.partialWarp]: [
    'EMULATOR_DIVERGENT_COLLECTIVE',
    'all 32 lanes of a warp must execute it together; some took another branch or have ended',
  ],
  [faults.partialWarpgroup]: [
    'EMULATOR_DIVERGENT_WARPGROUP',
    'the warp belongs to no whole warpgroup: those are warps 0 to 3, 4 to 7 and so on of the CTA, all four of them',
  ],
  [faults.misplacedMatrix]: [
    'EMULATOR_MISALIGNED',
    'a matrix descriptor does not fit its swizzle: the tile must begin at a multiple of eight swizzled rows (1024, 512 or 256 bytes), and K advance by multiples of 32 bytes',
  ],
  [faults.differingLanes]: [
    'EMULATOR_DIVERGENT_COLLECTIVE',
    'the lanes of the warp give it different descriptors or predicates; all must give the same',
  ],
}

/** The import through which translated code reports a fault. */
export function faultImport(kind: number, instruction: number): never {
  const [code, message] = descriptions[kind]!
  throw new KernelFault(code, message, instruction)
}
