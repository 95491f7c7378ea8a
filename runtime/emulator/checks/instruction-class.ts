/** What kind of hardware an instruction keeps busy, as far as a count can tell. */
export type InstructionClass =
  | 'tensor'
  | 'fp32'
  | 'fp16'
  | 'fp64'
  | 'integer'
  | 'special function'
  | 'conversion'
  | 'move'
  | 'global memory'
  | 'shared memory'
  | 'other memory'
  | 'shuffle'
  | 'synchronization'
  | 'branch'
  | 'other'

/** By the first word of the opcode, where that decides. */
const byName: Readonly<Record<string, InstructionClass>> = {
  mma: 'tensor',
  wgmma: 'tensor',
  ex2: 'special function',
  lg2: 'special function',
  rcp: 'special function',
  rsqrt: 'special function',
  sqrt: 'special function',
  sin: 'special function',
  cos: 'special function',
  tanh: 'special function',
  cvt: 'conversion',
  cvta: 'move',
  mov: 'move',
  movmatrix: 'shuffle',
  prmt: 'integer',
  ldmatrix: 'shared memory',
  stmatrix: 'shared memory',
  shfl: 'shuffle',
  vote: 'shuffle',
  match: 'shuffle',
  redux: 'shuffle',
  activemask: 'shuffle',
  bar: 'synchronization',
  barrier: 'synchronization',
  mbarrier: 'synchronization',
  membar: 'synchronization',
  fence: 'synchronization',
  griddepcontrol: 'synchronization',
  setmaxnreg: 'synchronization',
  bra: 'branch',
  brx: 'branch',
  ret: 'branch',
  exit: 'branch',
  call: 'branch',
}
const memory = new Set(['ld', 'ldu', 'st', 'atom', 'red', 'prefetch', 'cp'])

/** The class of a PTX opcode such as `fma.rn.f16x2`. */
export function classify(opcode: string): InstructionClass {
  const words = opcode.split('.')
  const name = words[0]!
  if (name === 'cp' && words.some((word) => /^(commit_group|wait_group|wait_all|mbarrier)$/.test(word)))
    return 'synchronization'
  if (name === 'wgmma' && words[1] !== 'mma_async') return 'synchronization'
  if (memory.has(name)) {
    const space = words.find((word) => /^(global|shared|param|local|const)/.test(word))
    if (name === 'cp' || space === undefined || space.startsWith('global')) return 'global memory'
    return space.startsWith('shared') ? 'shared memory' : 'other memory'
  }
  const known = byName[name]
  if (known) return known
  const type = words.at(-1)!
  if (/^(f16|bf16)/.test(type)) return 'fp16'
  if (type === 'f64') return 'fp64'
  if (type === 'f32') return 'fp32'
  return /^([subn]\d+|pred)/.test(type) ? 'integer' : 'other'
}
