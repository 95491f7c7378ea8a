import { testTiles } from '../tiles-on-wgmma.ts'

await testTiles('w16')
