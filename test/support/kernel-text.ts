import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Kernel } from '../../dsl/kernel.ts'

/** Writes a kernel file, gives its URL to `use`, and removes it. */
export async function withKernelFile<T>(text: string, use: (url: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'quattuor-kernels-'))
  try {
    const path = join(folder, 'kernels.ts')
    writeFileSync(path, text)
    return await use(pathToFileURL(path).href)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The descriptor of a kernel in a file that is not imported: one CTA of so many threads. */
export const kernelAt = (url: string, name: string, threads: number): Kernel => ({
  name,
  url,
  options: { grid: () => [1], block: [threads] },
})
