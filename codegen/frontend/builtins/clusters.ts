import type { Value } from '../evaluate/values.ts'
import { Computed, constantValue, DeviceValue } from '../evaluate/values.ts'
import { effect } from './warp.ts'

/** Clusters of CTAs, and launches that overlap. */

export const clusters: readonly (readonly [string, Value])[] = [
  [
    'clusterRank',
    new Computed((ev) => {
      if (ev.cluster === 1) return constantValue('i32', 0)
      const register = ev.emitter.entryValue('special', 'i32', { name: 'cluster_ctarank' })
      return new DeviceValue('i32', register, { min: 0, max: ev.cluster - 1 })
    }),
  ],
  ['clusterSize', new Computed((ev) => ev.cluster)],
  ['clusterBarrier', effect('clusterBarrier')],
  ['launchDependents', effect('launchDependents')],
  ['waitForPrevious', effect('waitForPrevious')],
]
