import { testTiles } from '../tiles-on-wgmma.ts'

await testTiles('w8a8')
