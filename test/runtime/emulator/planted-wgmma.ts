import {
  barrier,
  copyTensor,
  fenceAsync,
  type In,
  type i8,
  i32,
  kernel,
  laneIdx,
  loadWords,
  matrixOperand,
  type Out,
  range,
  regs,
  shared,
  storeWords,
  swizzledTile,
  threadIdx,
  type u32,
  warpgroupIdx,
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../../dsl/index.ts'
import {
  advance,
  consumerCursor,
  expectBytes,
  initRing,
  makeRing,
  producerCursor,
  release,
  waitEmpty,
  waitFull,
} from '../../../dsl/std/index.ts'

/**
 * Products of one warpgroup whose tile in shared memory its threads fill anew for each step. Every line that a test may
 * plant a fault on ends in a comment that names it.
 */
export interface StepsArguments {
  /** A: four words of each thread and step. */
  readonly w: In<u32, 'Steps 128 4'>
  /** B: 16 columns of 32 bytes of each step. */
  readonly x: In<u32, 'Steps 128'>
  readonly out: Out<i32, '128 8'>
}

const atom = wgmmaAtom(16, 'u8s8')

export const waitsBeforeStores = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function waitsBeforeStores(a: StepsArguments) {
    const tile = shared<i8>('i8', swizzledTile([16, 32], 'i8'))
    const acc = regs(8, i32(0))
    const thread = threadIdx.x
    for (const step of range(a.x.dim('Steps'))) {
      storeWords(tile, [thread >> 3, 4 * (thread & 7)], [a.x.at(step, thread)]) // store
      fenceAsync()
      barrier()
      const words = loadWords(a.w, [step, thread, 0], 4)
      wgmmaFence()
      wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), true) // product
      wgmmaCommit()
      wgmmaWait(0)
      barrier()
    }
    for (let i = 0; i < 8; i++) a.out.put(acc[i]!, thread, i) // use
  },
)

/** Fills the tile for the next step while the products of the last may still read it. */
export const storesBeforeWait = kernel(
  import.meta.url,
  { grid: () => [1], block: [128] },
  function storesBeforeWait(a: StepsArguments) {
    const tile = shared<i8>('i8', swizzledTile([16, 32], 'i8'))
    const acc = regs(8, i32(0))
    const thread = threadIdx.x
    for (const step of range(a.x.dim('Steps'))) {
      storeWords(tile, [thread >> 3, 4 * (thread & 7)], [a.x.at(step, thread)]) // store
      fenceAsync()
      wgmmaWait(0)
      barrier()
      const words = loadWords(a.w, [step, thread, 0], 4)
      wgmmaFence()
      wgmma(atom, acc, words, matrixOperand(tile, [0, 0]), true) // product
      wgmmaCommit()
    }
    wgmmaWait(0)
    for (let i = 0; i < 8; i++) a.out.put(acc[i]!, thread, i)
  },
)

export interface RingArguments {
  readonly w: In<u32, 'Steps 128 4'>
  readonly x: In<i8, 'Rows 32'>
  readonly out: Out<i32, '128 8'>
}

/** A ring of two tiles that the copy engine fills; with `early`, consumers release a tile that their product reads. */
export const ringProducts = kernel(
  import.meta.url,
  { grid: () => [1], block: [160] },
  function ringProducts(a: RingArguments, c: { readonly early: boolean }) {
    const tiles = shared<i8>('i8', swizzledTile([2, 16, 32], 'i8'))
    const ring = makeRing({ stages: 2, producers: 1, consumers: 4, sharers: 1 })
    if (threadIdx.x === 0) initRing(ring)
    barrier()
    const steps = a.w.dim('Steps')
    if (warpgroupIdx === 0) {
      const acc = regs(8, i32(0))
      const at = consumerCursor(0)
      for (const step of range(steps)) {
        const words = loadWords(a.w, [step, threadIdx.x, 0], 4)
        waitFull(ring, at)
        wgmmaFence()
        wgmma(atom, acc, words, matrixOperand(tiles.row(at.stage), [0, 0]), true) // product
        wgmmaCommit()
        if (c.early) release(ring, at.stage)
        wgmmaWait(0)
        if (!c.early) release(ring, at.stage)
        advance(at, ring, 1)
      }
      for (let i = 0; i < 8; i++) a.out.put(acc[i]!, threadIdx.x, i)
    } else if (laneIdx === 0) {
      const at = producerCursor()
      for (const step of range(steps)) {
        waitEmpty(ring, at)
        expectBytes(ring, at.stage, 16 * 32)
        copyTensor(tiles.row(at.stage), a.x, [16 * step, 0], ring.full, at.stage) // copy
        advance(at, ring, 1)
      }
    }
  },
)
