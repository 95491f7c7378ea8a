import { awq } from './awq.ts'
import { centerKeys } from './center-keys.ts'
import { clip } from './clip.ts'
import { gptq } from './gptq.ts'
import { hadamardKeys } from './hadamard-keys.ts'
import { kvClip } from './kv-clip.ts'
import type { Pass } from './pass.ts'
import { reorder } from './reorder.ts'
import { rotate } from './rotate.ts'
import { rotateHeads } from './rotate-heads.ts'
import { rtn } from './rtn.ts'
import { smooth } from './smooth.ts'
import { smoothAttention } from './smooth-attention.ts'

// Options are checked against a pass's own schema before they reach it.
const all = [
  rotate,
  rotateHeads,
  reorder,
  smooth,
  smoothAttention,
  centerKeys,
  hadamardKeys,
  kvClip,
  awq,
  clip,
  gptq,
  rtn,
] as unknown as readonly Pass[]

/** The passes that recipes can name. */
export const passes: Readonly<Record<string, Pass>> = Object.fromEntries(all.map((pass) => [pass.name, pass]))
