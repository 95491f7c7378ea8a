import { Presets, SingleBar } from 'cli-progress'

export interface Progress {
  /** `label` says what is going on. */
  update(done: number, total: number, label?: string): void
  stop(): void
}

/** A progress bar on standard error; nothing where that is no terminal. */
export function progressBar(what: string, unit: (value: number) => string = String): Progress {
  if (!process.stderr.isTTY) return { update() {}, stop() {} }
  const bar = new SingleBar(
    {
      format: `${what} {bar} {percentage} %  {done} of {all}  ETA {eta_formatted}  {label}`,
      stream: process.stderr,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  )
  let started = false
  return {
    update(done, total, label = '') {
      const labels = { done: unit(done), all: unit(total), label }
      if (started) bar.update(done, labels)
      else bar.start(total, done, labels)
      started = true
    },
    stop: () => bar.stop(),
  }
}

/** Bytes for people: `25.3 MiB`. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = Math.min(units.length - 1, bytes < 1024 ? 0 : Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}
