import type { Layout } from './layout.ts'
export type DrawAs = 'text' | 'svg'
export function draw(l: Layout, _as: DrawAs = 'text'): string {
  return l.id
}
