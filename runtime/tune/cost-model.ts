import type { LaunchReport } from '../emulator/checks/interface.ts'
import { type Ceilings, ceilings, floorMicroseconds, opsPerSecond, type Work } from './roofline.ts'

/** The GPU that the model is of: an H200. */
const multiprocessors = 132
const clockHz = 1.755e9
const ceiling: Ceilings = ceilings['nvidia-h200']!
/** Instructions that a multiprocessor issues in a cycle, one from each of its schedulers. */
const issued = 4
/** Starting a kernel and draining the last one. */
const launchMicroseconds = 2

/** What a counted launch stands for. */
export interface CountedLaunch {
  readonly report: LaunchReport
  /** CTAs that were counted. */
  readonly counted: number
  /** CTAs of the launch that is meant, and how many times as much each of them does. */
  readonly ctas: number
  readonly stretch: number
  readonly work: Work
}

/**
 * What a launch might take on a GPU, from what the emulator has counted of a part of it: for comparing configurations,
 * not for saying how fast they are.
 *
 * A CTA takes as many cycles as the slowest of three units needs, as if they worked at once and alone: the schedulers
 * (warp instructions / 4), shared memory (passes through the banks, conflicts included) and the matrix units. CTAs run in
 * waves, one to a multiprocessor; and no launch is faster than its bytes come from memory. Latencies, overlap of CTAs,
 * caches and clocks are left out.
 */
export function estimateMicroseconds({ report, counted, ctas, stretch, work }: CountedLaunch): number {
  const instructions = Object.values(report.instructions).reduce((sum, count) => sum + count, 0)
  const wavefronts = report.memory.reduce((sum, { wavefronts }) => sum + wavefronts, 0)
  const share = stretch / counted
  const issueCycles = (instructions / 32 / issued) * share
  const sharedCycles = wavefronts * share
  const opsPerCycle = opsPerSecond(work.unit, ceiling) / clockHz / multiprocessors
  const matrixCycles = work.ops / ctas / opsPerCycle
  const waves = Math.ceil(ctas / multiprocessors)
  const seconds = (waves * Math.max(issueCycles, sharedCycles, matrixCycles)) / clockHz
  return launchMicroseconds + Math.max(1e6 * seconds, floorMicroseconds(work, ceiling))
}
