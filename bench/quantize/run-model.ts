import { existsSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelConfig } from '../../checkpoint/config.ts'
import { openCheckpoint } from '../../checkpoint/open.ts'
import { weightsFileName } from '../../checkpoint/quantized.ts'
import { uniform } from '../../models/uniform.ts'
import { DeviceCompute } from '../../quantize/compute/device.ts'
import { quantizeCheckpoint } from '../../quantize/quantize-checkpoint.ts'
import type { Recipe } from '../../quantize/recipe.ts'
import type { Device } from '../../runtime/device.ts'
import { writeRandomModel } from './random-model.ts'

export interface ModelRunOptions {
  readonly config: ModelConfig
  readonly recipe: Recipe
  /** Where the random model and the result go; the model stays there for the next run. */
  readonly folder: string
  readonly windows: number
  readonly window: number
  readonly say: (line: string) => void
}

/** What quantizing a whole model took. */
export interface ModelRun {
  readonly seconds: number
  /** From the first layer to the last, on average. */
  readonly secondsPerLayer: number
  /** Of all layers, by what was done: a pass (the last one's with packing, where that does not overlap), or `forward`. */
  readonly passSeconds: Readonly<Record<string, number>>
  readonly devicePeakBytes: number
  readonly hostPeakBytes: number
  readonly resultBytes: number
}

/** Quantizes a model of random weights with outlier channels, calibrated on random tokens, writing included. */
export async function runModel(device: Device, o: ModelRunOptions): Promise<ModelRun> {
  const { config, windows, window, say } = o
  const source = join(o.folder, `random-${config.layers}`)
  const result = join(o.folder, 'result')
  if (!existsSync(join(source, weightsFileName))) {
    say(`writing ${source}`)
    await writeRandomModel(source, config)
  }
  for (const path of [result, `${result}.quantizing`]) rmSync(path, { recursive: true, force: true })
  const random = uniform(7)
  const ids = Int32Array.from({ length: windows * window }, () => Math.floor(random() * config.vocabSize))
  const checkpoint = openCheckpoint(source)
  const compute = new DeviceCompute(device)
  const started = performance.now()
  let layersFrom = started
  let layersTo = started
  let last = ''
  let lastAt = started
  const passSeconds: Record<string, number> = {}
  try {
    await quantizeCheckpoint(result, checkpoint, o.recipe, {
      producer: 'quattuor bench',
      compute,
      calibration: { ids, window },
      onProgress(_done, _total, what) {
        const now = performance.now()
        if (what.startsWith('layer 1 ') && !last.startsWith('layer')) layersFrom = now
        if (last.startsWith('layer') && !what.startsWith('layer')) layersTo = now
        const step = /^layer \d+ of \d+, (.*)/.exec(last)?.[1] ?? last
        if (step) passSeconds[step] = (passSeconds[step] ?? 0) + (now - lastAt) / 1000
        ;[last, lastAt] = [what, now]
        const { rss } = process.memoryUsage()
        say(`${((now - started) / 1000).toFixed(1).padStart(7)} s  ${gigabytes(rss)} host  ${what}`)
      },
    })
    return {
      seconds: (performance.now() - started) / 1000,
      secondsPerLayer: (layersTo - layersFrom) / 1000 / config.layers,
      passSeconds,
      devicePeakBytes: compute.peakBytes,
      // maxRSS is in KiB.
      hostPeakBytes: process.resourceUsage().maxRSS * 1024,
      resultBytes: statSync(join(result, weightsFileName)).size,
    }
  } finally {
    await compute.free()
    checkpoint.close()
  }
}

export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`
