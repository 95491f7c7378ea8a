/**
 * Draws the images of the documents from the layouts themselves: `npx tsx docs/images/draw.ts`.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  atoms,
  draw,
  drawOwners,
  fragmentOrder,
  rowMajor,
  swizzle,
  swizzled,
  wgmmaAtom,
} from '../../dsl/index.ts'
import { drawCta } from './cta.ts'

const { a, b } = atoms.m16n8k32.u8s8

/** The SVG text of each image, by file name. */
export const images: Readonly<Record<string, string>> = {
  'm16n8k32-a.svg': drawOwners(a.layout, 16, 32, 'svg'),
  'm16n8k32-b.svg': drawOwners(b.layout, 8, 32, 'svg'),
  'swizzle-128.svg': draw(swizzled(rowMajor([8, 8]), swizzle(128, 128)), 'svg'),
  'w4a8-load.svg': draw(fragmentOrder(atoms.m16n8k32.u8s8, 16, 64, 4), 'svg'),
  'm64n8k32-c.svg': drawOwners(wgmmaAtom(8, 'u8s8').c.layout, 64, 8, 'svg'),
  'gemm-cta.svg': drawCta(),
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, svg] of Object.entries(images)) writeFileSync(new URL(name, import.meta.url), svg)
}
