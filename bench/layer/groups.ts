/** Kernels of a step that a chart shows as one, in the order of their colours. */
export const kernelGroups = [
  { name: 'attention', kernels: ['attention', 'plan'] },
  { name: 'gate_up', kernels: ['gate_up'] },
  { name: 'down', kernels: ['down'] },
  { name: 'qkv, o', kernels: ['qkv', 'o'] },
  { name: 'norm, quantize, silu·mul', kernels: ['norm', 'quantize', 'silu_mul'] },
  { name: 'rope + append', kernels: ['append'] },
  { name: 'lm_head', kernels: ['lm_head', 'final_norm', 'quantize_head'] },
  { name: 'sampling, embedding', kernels: ['sample', 'report', 'embed', 'advance'] },
] as const

/** The place of a kernel's group; those of no group count as the last. */
export function groupOf(kernel: string): number {
  const place = kernelGroups.findIndex(({ kernels }) => (kernels as readonly string[]).includes(kernel))
  return place < 0 ? kernelGroups.length - 1 : place
}

/** The CSS colour of a group. */
export const groupColor = (group: number): string => `var(--series-${group + 1})`
