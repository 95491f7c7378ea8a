import { blockDim, staticAssert, warpIdx } from '../intrinsics.ts'
import { decreaseRegisters, increaseRegisters } from '../warpgroups.ts'

/** What some warps of a CTA do, all of them together and no others. */
export interface Role {
  readonly warps: number
  /** Registers of each of its threads, a multiple of 8 from 24 to 256; only for roles of whole warpgroups. */
  readonly registers?: number
  run(): void
}

/**
 * Gives each warp of the CTA one role. Roles take warps in their order, the first from warp 0 on, and all warps have one:
 *
 *     specialize({
 *       consumers: { warps: 8, registers: 232, run: () => multiply(ring) },
 *       producer: { warps: 4, registers: 40, run: () => fill(ring) },
 *     })
 *
 * A role with `registers` moves registers (`setmaxnreg`): it gives some back if the even share of the kernel is more, and
 * takes some if it is less. Together the roles may not have more than that share. `ctas` are those of the option
 * `blocksPerMultiprocessor`.
 */
export function specialize(roles: Readonly<Record<string, Role>>, ctas = 1): void {
  const all = Object.values(roles)
  const warps = all.reduce((sum, role) => sum + role.warps, 0)
  const threads = blockDim.x * blockDim.y * blockDim.z
  staticAssert(32 * warps === threads, `the roles have ${warps} warps, and the CTA has ${threads} threads`)
  const share = evenShare(warps, ctas)
  const wanted = all.reduce((sum, role) => sum + role.warps * (role.registers ?? share), 0)
  staticAssert(
    wanted <= warps * share,
    `the roles want ${32 * wanted} registers, and the CTA has ${32 * warps * share}: ${share} a thread`,
  )
  takeRoles(all, 0, share)
}

/** Registers of a thread when all have as many: an eighth of a quarter multiprocessor's 16384, for the warps there. */
const evenShare = (warps: number, ctas: number): number =>
  Math.min(256, 8 * Math.floor(16384 / (32 * 8 * Math.ceil((warps * ctas) / 4))))

/** The roles of the warps from `first` on. */
function takeRoles(roles: readonly Role[], first: number, share: number): void {
  const [role, ...rest] = roles
  if (role === undefined) return
  const end = first + role.warps
  if (rest.length === 0) play(role, first, share)
  else if (warpIdx < end) play(role, first, share)
  else takeRoles(rest, end, share)
}

function play(role: Role, first: number, share: number): void {
  if (role.registers !== undefined) {
    staticAssert(
      first % 4 === 0 && role.warps % 4 === 0,
      `only whole warpgroups move registers, and this role has warps ${first} to ${first + role.warps - 1}`,
    )
    if (role.registers < share) decreaseRegisters(role.registers)
    if (role.registers > share) increaseRegisters(role.registers)
  }
  role.run()
}
