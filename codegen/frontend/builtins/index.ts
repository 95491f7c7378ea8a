import type { Value } from '../evaluate/values.ts'
import { arithmetic } from './arithmetic.ts'
import { barrierBuiltins } from './barriers.ts'
import { clusters } from './clusters.ts'
import { control } from './control.ts'
import { conversions } from './conversions.ts'
import { copyEngine } from './copy-engine.ts'
import { memoryBuiltins } from './memory.ts'
import { mma } from './mma.ts'
import { warp } from './warp.ts'
import { warpgroups } from './warpgroups.ts'

/** Every name of `dsl/intrinsics.ts`, `dsl/async.ts`, `dsl/warpgroups.ts` and `dsl/scalars.ts`. `native:NAME` replaces a static function of `dsl/`. */
export const builtins: ReadonlyMap<string, Value> = new Map<string, Value>([
  ...control,
  ...conversions,
  ...memoryBuiltins,
  ...barrierBuiltins,
  ...copyEngine,
  ...warp,
  ...arithmetic,
  ...mma,
  ...warpgroups,
  ...clusters,
])

export { globals } from './globals.ts'
