import {
  barrier,
  fenceAsync,
  type In,
  type i8,
  i32,
  kernel,
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
  wgmma,
  wgmmaAtom,
  wgmmaCommit,
  wgmmaFence,
  wgmmaWait,
} from '../../../dsl/index.ts'

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
