import { execFileSync } from 'node:child_process'
import type { Clocks } from './records.ts'

/** The driver's own version and the clocks at this moment, where nvidia-smi says them. */
export function gpuState(device: string): { readonly driver: string | null; readonly clocks: Clocks | null } {
  const [, ordinal] = /^cuda:(\d+)$/.exec(device) ?? []
  if (ordinal === undefined) return { driver: null, clocks: null }
  const query = [
    '--query-gpu=driver_version,clocks.sm,clocks.mem',
    '--format=csv,noheader,nounits',
    '-i',
    ordinal,
  ]
  try {
    const text = execFileSync('nvidia-smi', query, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const [driver = null, sm, memory] = text.trim().split(', ')
    const clocks = { sm: Number(sm), memory: Number(memory) }
    return { driver, clocks: Number.isFinite(clocks.sm) && Number.isFinite(clocks.memory) ? clocks : null }
  } catch {
    return { driver: null, clocks: null }
  }
}
