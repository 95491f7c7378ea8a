/** What each example prints on a device whose instructions are those of sm_90a, by its name without the ending. */
export const exampleOutputs = (device: string): Readonly<Record<string, RegExp>> => {
  const on = (text: string): RegExp => new RegExp(`^${device}${text}`, 'm')
  return {
    '1-vector-add': on(String.raw`: 999 \+ 2 · 999 = 2997$`),
    '2-rmsnorm': on(String.raw`: the mean square of the output is 0\.250, of γ 0\.25$`),
    '3-gemm': on(": 0 of 240 sums differ from the host's$"),
    '4-own-format': on(String.raw`: the kernel is within 0\.001 of its reference`),
    '5-nf4-gemm': on(
      String.raw`, mma: 0 of 960 sums are further from .*\n${device}, wgmma: 0 of 960 sums are further from `,
    ),
    '6-copy-engine': on(": 0 of 300 sums differ from the host's$"),
    '7-ring-wgmma': on(": 0 of 8000 results differ from the host's$"),
    // Plain arrays, on every device.
    '8-salient-rows':
      /^of 4608 rows the 460 that matter most take 8 bits: outputs err by 0\.\d\d\d instead of 0\.\d\d\d$/m,
  }
}
