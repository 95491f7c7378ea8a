export * from './reduce.ts'
export * from './tile.ts'
