import {
  arrive,
  arriveExpecting,
  type Barriers,
  barrier,
  barriers,
  blockIdx,
  clusterBarrier,
  clusterRank,
  commitBulk,
  copyBulk,
  copyTensor,
  fenceAsync,
  fenceBarrierInit,
  type In,
  i32,
  idiv,
  initBarrier,
  kernel,
  laneIdx,
  namedBarrier,
  type Out,
  range,
  type Shared,
  shared,
  storeBulk,
  swizzledTile,
  syncWarp,
  threadIdx,
  unroll,
  waitBarrier,
  waitBulk,
  warpIdx,
} from '../../../dsl/index.ts'

/** What a pipeline does wrong; `none` for nothing. */
export type Fault =
  | 'none'
  | 'no init'
  | 'no barrier behind init'
  | 'no init fence'
  | 'no cluster barrier behind init'
  | 'init twice'
  | 'no wait for full'
  | 'no wait for empty'
  | 'parity does not flip'
  | 'parity begins wrong'
  | 'too few bytes announced'
  | 'too many bytes announced'
  | 'every lane arrives'
  | 'odd size'
  | 'source ends early'
  | 'a copy too many'
  | 'no proxy fence'
  | 'no wait for the store'
  | 'staging overwritten'
  | 'early exit'

export interface PipelineConfig {
  readonly cluster: number
  readonly stages: number
  readonly fault: Fault
}

export interface PipelineArguments {
  /** Each CTA has rows of its own, 128 words a step. */
  readonly w: In<i32, 'Ctas Steps 128'>
  /** All CTAs of a cluster get the same tile of each step: 8 rows of 32 words from each of them. */
  readonly x: In<i32, 'Rows 32'>
  readonly out: Out<i32, '2 Ctas 128'>
}

/**
 * A producer warp and four consumer warps around a ring of stages. Each CTA of a cluster copies its part of the tile of
 * `x` to all of them, and its own rows of `w`; each thread sums up what it got. The sums go out through the copy engine twice,
 * the second time doubled.
 */
export const pipeline = kernel(
  import.meta.url,
  { grid: (d) => [d.Ctas!], block: [160], cluster: (c: PipelineConfig) => c.cluster },
  function pipeline(a: PipelineArguments, c: PipelineConfig) {
    const tiles = shared<i32>('i32', swizzledTile([c.stages, c.cluster, 8, 32], 'i32'))
    const words = shared<i32>('i32', [c.stages, 128])
    const staging = shared<i32>('i32', [128])
    const full = barriers(c.stages)
    const empty = barriers(c.stages)
    if (threadIdx.x === 0) {
      for (const s of unroll(c.stages)) {
        if (c.fault !== 'no init') initBarrier(full, s, 1)
        initBarrier(empty, s, 4 * c.cluster)
        if (c.fault === 'init twice') initBarrier(empty, s, 4 * c.cluster) // second init
      }
      if (c.fault !== 'no init fence') fenceBarrierInit()
    }
    if (c.fault !== 'no barrier behind init') {
      if (c.cluster > 1 && c.fault !== 'no cluster barrier behind init') clusterBarrier()
      else barrier()
    }
    const steps = a.w.dim('Steps')
    const rank = c.cluster > 1 ? clusterRank : i32(0)
    if (warpIdx === 4) {
      if (laneIdx === 0) produce(a, c, { tiles, words, full, empty }, rank, steps)
    } else {
      let stage = i32(0)
      let parity = i32(0)
      let sum = i32(0)
      const thread = threadIdx.x
      for (const step of range(steps)) {
        if (c.fault !== 'no wait for full') waitBarrier(full, stage, parity) // full
        sum = sum + words.at(stage, thread) // use
        for (const part of unroll(c.cluster)) {
          const first = tiles.at(stage, part, idiv(thread, 16) % 8, thread % 16)
          sum = sum + first * (tiles.at(stage, part, idiv(thread, 16) % 8, 16 + (thread % 16)) + step)
        }
        syncWarp()
        if (c.fault === 'every lane arrives')
          arrive(empty, stage) // arrive
        else if (c.cluster === 1) {
          if (laneIdx === 0) arrive(empty, stage)
        } else if (laneIdx < c.cluster) arrive(empty.peer(laneIdx), stage) // arrive at peers
        stage = stage + 1
        if (stage === c.stages) {
          stage = 0
          if (c.fault !== 'parity does not flip') parity = parity ^ 1
        }
      }
      staging.put(sum, thread) // stage
      if (c.fault !== 'no proxy fence') fenceAsync()
      namedBarrier(1, 128)
      if (thread === 0) {
        storeBulk(a.out, [0, blockIdx.x, 0], staging, [0], 512) // store
        commitBulk()
        if (c.fault !== 'staging overwritten') waitBulk(0, { read: true })
      }
      namedBarrier(1, 128)
      staging.put(2 * sum, thread) // stage again
      fenceAsync()
      namedBarrier(1, 128)
      if (thread === 0) {
        storeBulk(a.out, [1, blockIdx.x, 0], staging, [0], 512) // store again
        commitBulk()
        if (c.fault !== 'no wait for the store') waitBulk(0, { read: true })
      }
    }
    if (c.cluster > 1 && c.fault !== 'early exit') {
      syncWarp()
      clusterBarrier()
    }
  },
)

interface Ring {
  readonly tiles: Shared<i32>
  readonly words: Shared<i32>
  readonly full: Barriers
  readonly empty: Barriers
}

function produce(a: PipelineArguments, c: PipelineConfig, ring: Ring, rank: i32, steps: i32): void {
  const { tiles, words, full, empty } = ring
  const bytes = 512 + 1024 * c.cluster
  const announced =
    c.fault === 'too few bytes announced'
      ? bytes - 512
      : c.fault === 'too many bytes announced'
        ? bytes + 16
        : bytes
  let stage = i32(0)
  let parity = i32(c.fault === 'parity begins wrong' ? 0 : 1)
  for (const turn of range(c.fault === 'a copy too many' ? steps + 1 : steps)) {
    const step = Math.min(turn, steps - 1)
    if (c.fault !== 'no wait for empty') waitBarrier(empty, stage, parity) // empty
    arriveExpecting(full, stage, announced) // announce
    const size = i32(c.fault === 'odd size' ? steps * 72 : 512)
    const from = c.fault === 'source ends early' ? i32(8) : i32(0)
    copyBulk(words, [stage, 0], a.w, [blockIdx.x, step, from], size, full, stage) // copy words
    const first = (idiv(blockIdx.x, c.cluster) * steps + step) * (8 * c.cluster) + 8 * rank
    const options = { multicast: 2 ** c.cluster - 1 }
    if (c.cluster > 1)
      copyTensor(tiles.row(stage, rank), a.x, [first, 0], full, stage, options) // multicast
    else copyTensor(tiles.row(stage, 0), a.x, [first, 0], full, stage) // copy tile
    stage = stage + 1
    if (stage === c.stages) {
      stage = 0
      parity = parity ^ 1
    }
  }
}
