import type { Program } from '../program.ts'
import { ptxLocation } from './ts-location.ts'

/**
 * What the logs of ptxas, and of the compiler in the driver, say against a kernel whose matrix products should run on
 * while the threads do.
 */

/** A note of ptxas that it does not let `wgmma`s run on: it waits for each, or puts fences and waits of its own between. */
export interface WgmmaAdvisory {
  /** `C7510` to `C7519`. */
  readonly code: string
  readonly text: string
  /** The line of the PTX that it names, from 1. */
  readonly line: number | undefined
}

export function wgmmaAdvisories(log: string): WgmmaAdvisory[] {
  return [...log.matchAll(/\((C751\d)\)\s*(.*)/g)].map(([, code, text]) => {
    const line = /around line (\d+)/.exec(text!)?.[1]
    return { code: code!, text: text!.trim(), line: line === undefined ? undefined : Number(line) }
  })
}

/**
 * What the log of assembling a program says against its `wgmma`s, in one sentence with the TypeScript line; undefined if
 * nothing.
 */
export function wgmmaFault(program: Program, log: string): string | undefined {
  const [advisory] = wgmmaAdvisories(log)
  if (!advisory) return undefined
  const { code, text, line } = advisory
  const first = program.ptx.split('\n').findIndex((each) => each.includes('wgmma.mma_async')) + 1
  const place = (at: number) => ptxLocation(program, at) ?? `line ${at} of the PTX`
  const near = line === undefined ? '' : `, near ${place(line)}`
  return (
    `ptxas does not let the wgmmas of kernel ${program.name} run on, of which the first is at ${place(first)}: ` +
    `(${code}) ${text}${near}; give the kernel fewer accumulators or more registers, keep loops with wgmma rolled, and ` +
    `touch no accumulator between them`
  )
}

/** Bytes that a thread spills, by the log of `ptxas -v`. */
export function spilledBytes(log: string): number {
  const sum = (pattern: RegExp) =>
    [...log.matchAll(pattern)].reduce((total, [, bytes]) => total + Number(bytes), 0)
  return sum(/(\d+) bytes spill stores/g) + sum(/(\d+) bytes spill loads/g)
}

/** An access to spilled registers in machine code. */
export interface Spill {
  /** `STL.64 [R1+0x18], R26`. */
  readonly instruction: string
  /** `file:line` by the disassembler's line information, if it gave any. */
  readonly location: string | undefined
}

/**
 * The accesses to spilled registers inside loops, in the text of `nvdisasm` or `cuobjdump -sass`: those between a branch
 * back and its target. Spills outside of loops cost little; these stall every iteration.
 */
export function spillsInLoops(sass: string): Spill[] {
  const instructions: (Spill & { readonly address: number; readonly target: string | undefined })[] = []
  const labels = new Map<string, number>()
  let location: string | undefined
  for (const line of sass.split('\n')) {
    const label = /^\s*(\.L\w+):/.exec(line)?.[1]
    if (label) labels.set(label, instructions.length)
    const [, file, number] = /^\s*\/\/## File "([^"]*)", line (\d+)/.exec(line) ?? []
    if (file) location = `${file}:${number}`
    const [, address, text] = /^\s*\/\*([0-9a-f]{4,})\*\/\s+(.*?)\s*;/.exec(line) ?? []
    if (address === undefined) continue
    const instruction = text!.replace(/^\{\s*/, '')
    const target = /\bBRA(?:\.\w+)*\s.*?(?:`\((\.L\w+)\)|(0x[0-9a-f]+))/.exec(instruction)
    instructions.push({
      instruction,
      location,
      address: Number.parseInt(address, 16),
      target: target?.[1] ?? target?.[2],
    })
  }
  const inLoop = new Set<Spill>()
  for (const [at, { target }] of instructions.entries()) {
    if (target === undefined) continue
    const start = target.startsWith('.')
      ? labels.get(target)
      : instructions.findIndex(({ address }) => address === Number(target))
    if (start === undefined || start < 0) continue
    for (const each of instructions.slice(start, at + 1))
      if (/\b(STL|LDL)\b/.test(each.instruction)) inLoop.add(each)
  }
  return [...inLoop].map(({ instruction, location }) => ({ instruction, location }))
}
