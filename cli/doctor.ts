import { Command } from 'commander'
import { type CubinStatistics, cubinCache } from '../runtime/cuda/cubin-cache.ts'
import { translationStore } from '../runtime/emulator/run/translation-store.ts'
import type { StoreStatistics } from '../runtime/file-store.ts'
import { type DeviceReport, describeDevices } from '../runtime/open-device.ts'
import { type CacheStatistics, cacheFolder, programCache } from '../runtime/program-cache.ts'
import { jsonOption } from './options.ts'
import { packageVersion } from './package-info.ts'
import { bytesText } from './progress.ts'

export const doctorCommand = (): Command =>
  new Command('doctor')
    .description('Say what there is to run on, what would be used, and why.')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  $ quattuor doctor')
    .action(async ({ json }: { readonly json?: boolean }) => {
      const devices = await describeDevices()
      const cache = await programCache().statistics()
      const cubins = await cubinCache().statistics()
      const translations = (await translationStore()?.statistics()) ?? null
      const versions = {
        quattuor: packageVersion(),
        node: process.versions.node,
        platform: `${process.platform}-${process.arch}`,
      }
      if (json)
        console.log(
          JSON.stringify({
            ...versions,
            ...devices,
            cache: { folder: cacheFolder(), ...cache },
            cubins,
            translations,
          }),
        )
      else console.log(doctorText(versions, devices, cache, cubins, translations))
    })

function doctorText(
  versions: { readonly quattuor: string; readonly node: string; readonly platform: string },
  { driver, gpus, choice }: DeviceReport,
  { store: programs }: CacheStatistics,
  { store: cubins }: CubinStatistics,
  translations: StoreStatistics | null,
): string {
  const kept = (store: StoreStatistics | null, noun: string) =>
    store === null ? 'off' : `${store.folder}: ${storeText(store, noun)}`
  const rows: [string, string][] = [
    ['quattuor', versions.quattuor],
    ['node', `${versions.node} on ${versions.platform}`],
    [
      'driver',
      driver.version === null ? `none: ${driver.problem}` : `CUDA ${driver.version} (${driver.library})`,
    ],
    ...gpus.map((gpu): [string, string] => [
      gpu.name,
      `${gpu.description}, compute capability ${gpu.capability}, ${gpu.multiprocessors} multiprocessors, ` +
        `${bytesText(gpu.memoryBytes)}; ${gpu.target ? `kernels compile for ${gpu.target.name}` : 'not supported'}`,
    ]),
    ['emulator', 'always there'],
    ['cache', programs === null ? 'off' : `${cacheFolder()}: ${storeText(programs, 'programs')}`],
    ['cubins', kept(cubins, 'files')],
    ['translated', kept(translations, 'kernels for the emulator')],
    ['would use', `${choice.name}, because ${choice.reason}`],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `${name.padEnd(width)}  ${text}`).join('\n')
}

const storeText = ({ entries, bytes, problem }: StoreStatistics, noun: string): string =>
  `${entries} ${noun}, ${bytesText(bytes)}${problem ? `; ${problem}` : ''}`
