import { type MmaAtom, mma } from '../../dsl/atoms/mma.ts'

/** The `mma.sync` atoms by name. */
export const mmaAtoms: Readonly<Record<string, MmaAtom>> = Object.fromEntries(
  Object.values(mma)
    .flatMap((shape): MmaAtom[] => Object.values(shape))
    .map((atom) => [atom.name, atom]),
)
