export { fragmentOrder } from './fragment-order.ts'
export { ldmatrix } from './ldmatrix.ts'
export type { MmaAtom, MmaOperand } from './mma.ts'
export { mma } from './mma.ts'
