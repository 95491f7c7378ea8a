import { kernelsIn } from '../../codegen/frontend/kernels.ts'
import { Modules } from '../../codegen/frontend/names.ts'

/** The names of the kernels that a file declares, in order; from its syntax alone. Throws `Diagnostic` E0001, E0003. */
export const listKernels = (path: string): string[] =>
  kernelsIn(new Modules().loadProgram(path)).map((kernel) => kernel.name!)
