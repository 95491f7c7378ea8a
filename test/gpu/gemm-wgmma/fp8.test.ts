import { testTiles } from '../tiles-on-wgmma.ts'

await testTiles('fp8')
