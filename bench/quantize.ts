import { Command } from 'commander'
import { wholeNumber } from '../cli/options.ts'
import { namedConfig } from '../models/shapes.ts'
import { runBench } from './command.ts'
import { openGpu } from './open-gpu.ts'
import { checkOperations } from './quantize/check-operations.ts'
import { type LayerShape, measureOperations } from './quantize/operations.ts'

interface QuantizeOptions {
  readonly device?: string
  readonly tokens: number
  readonly window: number
  readonly check?: boolean
}

async function measure(options: QuantizeOptions): Promise<void> {
  const device = await openGpu('bench:quantize', options.device)
  try {
    const { hiddenSize, intermediateSize, heads, kvHeads, headDim } = namedConfig('llama-3-8b')
    const shape: LayerShape = {
      hidden: hiddenSize,
      intermediate: intermediateSize,
      heads,
      kvHeads,
      headDim,
      tokens: options.tokens,
      window: options.window,
    }
    if (options.check) await checkOperations(device, shape, console.log)
    await measureOperations(device, shape, ({ operation, shape: size, milliseconds, tflops }) => {
      const rate = tflops === null ? '' : `${tflops.toFixed(1)} TFLOPS`
      console.log(
        `${operation.padEnd(22)} ${size.padEnd(24)} ${milliseconds.toFixed(2).padStart(9)} ms  ${rate}`,
      )
    })
  } finally {
    await device.close()
  }
}

await runBench(
  new Command('bench:quantize')
    .description('times what quantizing a model is made of')
    .option('--device <name>', 'a GPU as quattuor doctor names it; the first unless given')
    .option('--tokens <count>', 'calibration tokens at once', wholeNumber(1), 16384)
    .option('--window <count>', 'tokens of a window', wholeNumber(1), 1024)
    .option('--check', 'compare the results with those of the host first')
    .action(measure),
)
