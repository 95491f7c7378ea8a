import type { Program } from '../program.ts'

const loc = /^\s*\.loc\s+(\d+)\s+(\d+)/

/** The TypeScript line, as `file:line`, of a line of a program's PTX (from 1): that of the `.loc` in force there. */
export function ptxLocation(program: Program, line: number): string | undefined {
  const lines = program.ptx.split('\n').slice(0, line)
  for (let i = lines.length - 1; i >= 0; i--) {
    const location = locationOf(program, lines[i]!)
    if (location) return location
  }
  return undefined
}

/** The TypeScript line where a program's first instruction comes from. */
export function ptxStart(program: Program): string | undefined {
  const first = /^\s*\.loc\s+\d+\s+\d+/m.exec(program.ptx)
  return first ? locationOf(program, first[0].trimStart()) : undefined
}

function locationOf(program: Program, text: string): string | undefined {
  const match = loc.exec(text)
  const file = match && program.sources[Number(match[1]) - 1]
  return file ? `${file.path}:${match[2]}` : undefined
}
