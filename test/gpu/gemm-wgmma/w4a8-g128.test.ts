import { testTiles } from '../tiles-on-wgmma.ts'

await testTiles('w4a8-g128')
