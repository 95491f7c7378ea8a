/** Instructions of a PTX text by class, as they stand: a loop's body counts once. */
export type InstructionCounts = Readonly<Record<InstructionClass, number>>

export const instructionClasses = [
  'mma',
  'float',
  'integer',
  'move',
  'global',
  'shared',
  'local',
  'sync',
  'control',
] as const
export type InstructionClass = (typeof instructionClasses)[number]

/** Counts the instructions of a PTX module. */
export function countInstructions(ptx: string): InstructionCounts {
  const counts = Object.fromEntries(instructionClasses.map((each) => [each, 0])) as Record<
    InstructionClass,
    number
  >
  for (const line of ptx.split('\n')) {
    // An instruction is a lower-case opcode with modifiers after an optional guard; directives begin with a dot.
    const opcode = line.match(/^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)(?=[\s;])[^:]*;/)?.[1]
    if (opcode) counts[classOf(opcode)]++
  }
  return counts
}

function classOf(opcode: string): InstructionClass {
  const [name = '', ...modifiers] = opcode.split('.')
  const has = (modifier: string) =>
    modifiers.some((each) => each === modifier || each.startsWith(`${modifier}::`))
  if (name === 'mma' || name === 'wgmma') return 'mma'
  if (['bar', 'barrier', 'membar', 'fence', 'mbarrier'].includes(name)) return 'sync'
  if (name === 'cp') return has('global') ? 'global' : 'sync'
  if (['ld', 'st', 'atom', 'red', 'ldmatrix', 'stmatrix', 'prefetch'].includes(name)) {
    if (has('param')) return 'move'
    if (has('shared') || name.endsWith('matrix')) return 'shared'
    return has('local') ? 'local' : 'global'
  }
  if (['bra', 'ret', 'exit', 'call', 'trap', 'brx'].includes(name)) return 'control'
  if (['mov', 'cvta', 'cvt', 'prmt', 'shfl', 'vote', 'activemask', 'elect', 'selp', 'match'].includes(name))
    return 'move'
  return modifiers.some((each) => /^b?f(16|32|64)(x2)?$/.test(each)) ? 'float' : 'integer'
}
