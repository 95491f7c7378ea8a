/**
 * Draws the images of the documents from the layouts themselves: `npx tsx docs/images/draw.ts`.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { atoms, draw, drawOwners, rowMajor, swizzle, swizzled } from '../../dsl/index.ts'

const { a, b } = atoms.m16n8k32.u8s8

/** The SVG text of each image, by file name. */
export const images: Readonly<Record<string, string>> = {
  'm16n8k32-a.svg': drawOwners(a.layout, 16, 32, 'svg'),
  'm16n8k32-b.svg': drawOwners(b.layout, 8, 32, 'svg'),
  'swizzle-128.svg': draw(swizzled(rowMajor([8, 8]), swizzle(128, 128)), 'svg'),
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, svg] of Object.entries(images)) writeFileSync(new URL(name, import.meta.url), svg)
}
